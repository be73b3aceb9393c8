/**
 * A private InspIRCd 3 with the IRCv3 modules that a modern client wants. By default a flood is not
 * punished; `strict` gives back the limits that public networks have.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { directoryFor, giveTo } from "./account.ts";
import { executable } from "./available.ts";
import { createAuthority } from "./certificates.ts";
import { answersIrc, type IrcBans, ircBans } from "./irc-operator.ts";
import { reservePort } from "./port.ts";
import { type Server, startServer } from "./server.ts";

export interface InspircdOptions {
  /** Public-network limits: 10 commands a second of penalty, small queues, 3 connections from one address. */
  readonly strict?: boolean;
  /** Left out of the module list, so that a client meets a server without them, e.g. `ircv3_echomessage`. */
  readonly without?: readonly string[];
  /** Added to the configuration. */
  readonly config?: string;
}

export interface InspircdServer extends Server, IrcBans {
  readonly host: string;
  readonly port: number;
  readonly tlsPort: number;
  /** PEM of the authority behind the TLS port's certificate, which names `localhost`. */
  readonly ca: string;
  readonly serverName: string;
  /** Replaces what `config` added, and rehashes; resolves when the server has read it. */
  configure(config: string): Promise<void>;
}

const ACCOUNT = "irc";
const SERVER_NAME = "irc.test.invalid";
const OPERATOR = { name: "tester", password: "operator" };

const MODULES = [
  "cap",
  "chghost",
  "ircv3",
  "ircv3_accounttag",
  "ircv3_batch",
  "ircv3_capnotify",
  "ircv3_chghost",
  "ircv3_ctctags",
  "ircv3_echomessage",
  "ircv3_invitenotify",
  "ircv3_labeledresponse",
  "ircv3_msgid",
  "ircv3_servertime",
  "chanhistory",
  "monitor",
  "namesx",
  "services_account",
  "ssl_gnutls",
  "sslinfo",
];

const LIMITS = {
  generous:
    'localmax="20000" globalmax="20000" limit="20000" maxconnwarn="no" fakelag="no" threshold="1000000" ' +
    'commandrate="1000000000" recvq="1048576" softsendq="67108864" hardsendq="268435456" maxchans="1000"',
  strict:
    'localmax="3" globalmax="3" limit="100" fakelag="yes" threshold="10" commandrate="1000" ' +
    'recvq="8192" softsendq="8192" hardsendq="262144" maxchans="20"',
};

const tag = (name: string, values: Readonly<Record<string, string | number>>): string =>
  `<${name} ${Object.entries(values)
    .map(([key, value]) => `${key}="${value}"`)
    .join(" ")}>`;

function configuration(
  options: InspircdOptions,
  at: { port: number; tlsPort: number; directory: string },
): string {
  const file = (name: string): string => join(at.directory, name);
  const modules = MODULES.filter((name) => !options.without?.includes(name));
  return [
    tag("server", { name: SERVER_NAME, description: "test server", network: "TestNet", id: "1TS" }),
    tag("admin", { name: "tests", nick: "tests", email: "tests@test.invalid" }),
    tag("path", {
      configdir: at.directory,
      datadir: at.directory,
      logdir: at.directory,
      runtimedir: at.directory,
      moduledir: join("/usr/lib", "inspircd", "modules"),
    }),
    ...modules.map((name) => tag("module", { name })),
    tag("sslprofile", {
      name: "tls",
      provider: "gnutls",
      cafile: file("ca.pem"),
      certfile: file("localhost.pem"),
      keyfile: file("localhost.key"),
      hash: "sha256",
      requestclientcert: "yes",
    }),
    tag("bind", { address: "127.0.0.1", port: at.port, type: "clients" }),
    tag("bind", { address: "127.0.0.1", port: at.tlsPort, type: "clients", sslprofile: "tls" }),
    tag("class", { name: "all", commands: "*", privs: "*", usermodes: "*", chanmodes: "*", snomasks: "*" }),
    tag("type", { name: "operator", classes: "all" }),
    tag("oper", { ...OPERATOR, host: "*@*", type: "operator" }),
    `<connect name="operators" allow="127.0.0.2" ${LIMITS.generous} resolvehostnames="no" timeout="60" pingfreq="120">`,
    `<connect name="clients" allow="*" ${options.strict ? LIMITS.strict : LIMITS.generous} resolvehostnames="no" timeout="60" pingfreq="120">`,
    tag("options", { casemapping: "rfc1459", syntaxhints: "no", defaultmodes: "nt" }),
    tag("performance", { softlimit: 12800, netbuffersize: 65534, clonesonconnect: "yes" }),
    tag("limits", { maxnick: 30, maxchan: 60, maxident: 12, maxtopic: 300, maxkick: 300, maxaway: 200 }),
    tag("insane", { hostmasks: "yes", ipmasks: "yes", nickmasks: "yes", trigger: "100" }),
    tag("log", { method: "file", type: "* -USERINPUT -USEROUTPUT", level: "default", target: "ircd.log" }),
    tag("include", { file: file("extra.conf") }),
    "",
  ].join("\n");
}

export async function startInspircd(options: InspircdOptions = {}): Promise<InspircdServer> {
  const directory = directoryFor(ACCOUNT, "inspircd");
  const [port, tlsPort] = [await reservePort(), await reservePort()];
  const authority = await createAuthority(directory);
  await authority.issue("localhost");
  const main = join(directory, "inspircd.conf");
  const extra = join(directory, "extra.conf");
  writeFileSync(main, configuration(options, { port: port.number, tlsPort: tlsPort.number, directory }));
  writeFileSync(extra, options.config ?? "");
  giveTo(ACCOUNT, directory);

  const bans = ircBans(
    { port: port.number, ...OPERATOR },
    {
      ban: (mask, reason) => [`KLINE ${mask} 1d :${reason}`],
      unban: (mask) => [`KLINE ${mask}`],
    },
  );
  return startServer(
    {
      name: "inspircd",
      command: [executable("inspircd"), "--nofork", "--nopid", "--config", main],
      account: ACCOUNT,
      directory,
      ports: [port, tlsPort],
      answers: () => answersIrc(port.number),
    },
    {
      host: "127.0.0.1",
      port: port.number,
      tlsPort: tlsPort.number,
      ca: authority.ca,
      serverName: SERVER_NAME,
      ...bans,
      configure: async (config: string) => {
        writeFileSync(extra, config);
        const answers = await bans.operator(["REHASH"], /NOTICE \S+ :\*\*\* /);
        const outcome = answers.at(-1) ?? "";
        if (!outcome.includes("Successfully rehashed")) throw new Error(`refused: ${outcome}`);
      },
    },
  );
}
