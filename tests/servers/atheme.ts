/**
 * Atheme services on a private InspIRCd: accounts, NickServ and SASL as networks have them. Services can be stopped
 * and started while the server runs on, as they are on networks.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { directoryFor, giveTo } from "./account.ts";
import { executable } from "./available.ts";
import { type InspircdOptions, type InspircdServer, startInspircd } from "./inspircd.ts";
import { IrcClient } from "./irc-client.ts";
import { reservePort } from "./port.ts";
import { type Server, startServer } from "./server.ts";

export interface AthemeNetwork extends AsyncDisposable {
  /** What clients connect to. */
  readonly irc: InspircdServer;
  /** Stopped: SASL and NickServ are gone, and clients stay. */
  readonly services: Server;
  /** Registers an account, which owns the nickname of the same name. */
  register(account: string, password: string): Promise<void>;
}

export interface AthemeOptions extends Pick<InspircdOptions, "without" | "config"> {
  /** Services rename who uses a registered nickname without its account, as NickServ ENFORCE does. */
  readonly enforce?: boolean;
}

const ACCOUNT = "irc";
const SERVICES = "services.test.invalid";
const PASSWORD = "link-password";
/** How soon lost links are made again, seconds. */
const RECONNECT_S = 1;

const MODULES = [
  "protocol/inspircd",
  "backend/opensex",
  "crypto/pbkdf2v2",
  "nickserv/main",
  "nickserv/identify",
  "nickserv/register",
  "nickserv/info",
  "nickserv/ghost",
  "nickserv/enforce",
  "nickserv/cert",
  "nickserv/logout",
  "saslserv/main",
  "saslserv/plain",
  "saslserv/external",
];

function configuration(link: number, enforce: boolean): string {
  const service = (block: string, nick: string, more = ""): string =>
    `${block} { nick = "${nick}"; user = "services"; host = "${SERVICES}"; real = "${nick}"; ${more} };`;
  return [
    ...MODULES.map((name) => `loadmodule "modules/${name}";`),
    "serverinfo {",
    `  name = "${SERVICES}"; desc = "test services"; numeric = "00A"; recontime = ${RECONNECT_S};`,
    '  netname = "TestNet"; hidehostsuffix = "users.test.invalid"; adminname = "tests";',
    '  adminemail = "tests@test.invalid"; registeremail = "tests@test.invalid";',
    "  loglevel = { error; info; network; }; maxlogins = 50; maxusers = 0; mdlimit = 30;",
    "  emaillimit = 1000; emailtime = 300; auth = none; casemapping = rfc1459;",
    "};",
    `uplink "irc.test.invalid" { host = "127.0.0.1"; port = ${link};`,
    `  send_password = "${PASSWORD}"; receive_password = "${PASSWORD}"; };`,
    service("nickserv", "NickServ", `${enforce ? "enforce; " : ""}maxnicks = 5; enforce_delay = 1;`),
    service("saslserv", "SaslServ"),
    'general { helpchan = "#help"; commit_interval = 5; uflags = { }; cflags = { }; default_clone_allowed = 1000; };',
    "",
  ].join("\n");
}

/** The server's side of the link. */
function linkConfiguration(port: number): string {
  return [
    ...["spanningtree", "sasl", "svshold"].map((name) => `<module name="${name}">`),
    `<bind address="127.0.0.1" port="${port}" type="servers">`,
    `<link name="${SERVICES}" ipaddr="127.0.0.1" port="${port}" allowmask="127.0.0.1" timeout="15" ` +
      `hidden="no" sendpass="${PASSWORD}" recvpass="${PASSWORD}">`,
    `<uline server="${SERVICES}" silent="yes">`,
    `<sasl target="${SERVICES}" requiressl="no">`,
  ].join("\n");
}

/** Resolves when the services are there and SASL is offered. */
export async function startAtheme({
  enforce = false,
  ...options
}: AthemeOptions = {}): Promise<AthemeNetwork> {
  const link = await reservePort();
  const irc = await startInspircd({
    ...options,
    config: `${linkConfiguration(link.number)}\n${options.config ?? ""}`,
  });
  try {
    const directory = directoryFor(ACCOUNT, "atheme");
    const file = join(directory, "atheme.conf");
    writeFileSync(file, configuration(link.number, enforce));
    mkdirSync(join(directory, "data"));
    giveTo(ACCOUNT, directory);
    const at = ["-c", file, "-D", join(directory, "data"), "-l", join(directory, "atheme.log")];
    const services = await startServer(
      {
        name: "atheme",
        command: [executable("atheme"), "-n", "-p", join(directory, "atheme.pid"), ...at],
        account: ACCOUNT,
        directory,
        ports: [link],
        answers: () => areThere(irc.port),
      },
      {},
    );
    return {
      irc,
      services,
      register: (account, password) => register(irc.port, account, password),
      [Symbol.asyncDispose]: async () => {
        await services[Symbol.asyncDispose]();
        await irc[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    await irc[Symbol.asyncDispose]();
    throw error;
  }
}

let visitors = 0;

async function areThere(port: number): Promise<boolean> {
  visitors += 1;
  using client = await IrcClient.connect({ port, nick: `visitor${visitors}` });
  client.say("CAP LS 302", "WHOIS SaslServ");
  await client.expect(/ 318 /);
  const cannot = client.lines.some((line) => / 401 /.test(line));
  return !cannot && client.lines.some((line) => / CAP \S+ LS .*\bsasl\b/.test(line));
}

async function register(port: number, account: string, password: string): Promise<void> {
  using client = await IrcClient.connect({ port, nick: account });
  client.say(`PRIVMSG NickServ :REGISTER ${password} ${account}@test.invalid`);
  await client.expect(/ NOTICE \S+ :.*(?:is now registered|are now logged in)| 900 /i);
  client.say("QUIT");
  await client.expect(/^ERROR /);
}
