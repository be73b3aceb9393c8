/**
 * A private RabbitMQ node with its own epmd, cookie and data, on loopback.
 * Nothing of the package's own configuration is read.
 */
import { randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { connect } from "amqplib";
import { directoryFor, giveTo } from "./account.ts";
import { programsOf } from "./available.ts";
import { type Authority, type Certificate, createAuthority } from "./certificates.ts";
import { type Port, reservePort } from "./port.ts";
import { ask, type Server, startServer } from "./server.ts";

export interface RabbitmqOptions {
  /** Also listens on TLS, with SASL EXTERNAL for client certificates. */
  readonly tls?: boolean;
  /** Added to rabbitmq.conf. */
  readonly config?: readonly string[];
}

export interface RabbitmqTls {
  /** `amqps://localhost:…`, without credentials. */
  readonly url: string;
  readonly authority: Authority;
  /** Issues a certificate and makes the user that EXTERNAL signs in by its common name. */
  client(user: string, vhosts?: readonly string[]): Promise<Certificate>;
}

export interface RabbitmqServer extends Server {
  /** Vhost `/`, user guest. */
  readonly url: string;
  readonly port: number;
  readonly node: string;
  readonly tls: RabbitmqTls | undefined;
  /** rabbitmqctl. @returns what it printed */
  ctl(...args: string[]): Promise<string>;
  /** Evaluates Erlang expressions on the node; much quicker than `ctl`. @returns the printed value of the last */
  eval(erlang: string): Promise<string>;
  /**
   * Writes the broker's own lists of vhosts and quorum queues to disk. RabbitMQ 3.10 does it a second or two
   * after a queue is declared; killed before, it loses the queue with all that it had confirmed. Call this
   * between the declarations and `kill`.
   */
  settle(): Promise<void>;
  /** A new vhost that guest may use. @returns its URL */
  vhost(name: string): Promise<string>;
}

const ACCOUNT = "rabbitmq";

/** An Erlang binary literal of a name without quotes or backslashes. */
function binary(text: string): string {
  if (/["\\]/.test(text)) throw new Error(`not a plain name: ${text}`);
  return `<<"${text}"/utf8>>`;
}

/** Erlang's port mapper, in the foreground and ours alone: a shared one would outlive the test. */
async function startPortMapper(port: Port): Promise<Server> {
  const directory = directoryFor(ACCOUNT, "epmd");
  const number = String(port.number);
  const command = ["epmd", "-address", "127.0.0.1", "-port", number] as const;
  const answers = async (): Promise<boolean> => {
    await ask({ account: ACCOUNT, directory, command: ["epmd", "-port", number, "-names"] });
    return true;
  };
  return startServer({ name: "epmd", command, account: ACCOUNT, directory, ports: [port], answers }, {});
}

async function answersAmqp(url: string): Promise<boolean> {
  const connection = await connect(url, { timeout: 5_000 });
  await connection.close();
  return true;
}

interface Tls {
  readonly authority: Authority;
  readonly port: Port;
  readonly config: readonly string[];
}

async function prepareTls(directory: string): Promise<Tls> {
  const [authority, port] = [await createAuthority(directory), await reservePort()];
  const { certFile, keyFile } = await authority.issue("localhost");
  const config = [
    `listeners.ssl.1 = 127.0.0.1:${port.number}`,
    `ssl_options.cacertfile = ${authority.caFile}`,
    `ssl_options.certfile = ${certFile}`,
    `ssl_options.keyfile = ${keyFile}`,
    "ssl_options.verify = verify_peer",
    "ssl_options.fail_if_no_peer_cert = false",
    "auth_mechanisms.1 = PLAIN",
    "auth_mechanisms.2 = AMQPLAIN",
    "auth_mechanisms.3 = EXTERNAL",
    "ssl_cert_login_from = common_name",
  ];
  return { authority, port, config };
}

export async function startRabbitmq(options: RabbitmqOptions = {}): Promise<RabbitmqServer> {
  const scripts = programsOf("rabbitmq");
  const directory = directoryFor(ACCOUNT, "rabbitmq");
  const inside = (name: string): string => join(directory, name);
  const [port, distribution, mapper] = [await reservePort(), await reservePort(), await reservePort()];
  const tls = options.tls ? await prepareTls(directory) : undefined;
  const node = `linkspan-${randomBytes(4).toString("hex")}@localhost`;
  const config = [
    `listeners.tcp.1 = 127.0.0.1:${port.number}`,
    "log.file = false",
    "log.console = true",
    "log.console.level = warning",
    "disk_free_limit.absolute = 50MB",
    ...(tls?.config ?? []),
    ...(options.config ?? []),
  ];
  mkdirSync(inside("mnesia"));
  writeFileSync(inside("rabbitmq.conf"), `${config.join("\n")}\n`);
  writeFileSync(inside("plugins"), tls ? "[rabbitmq_auth_mechanism_ssl].\n" : "[].\n");
  writeFileSync(inside("environment"), "");
  writeFileSync(inside(".erlang.cookie"), randomBytes(16).toString("hex"), { mode: 0o400 });
  giveTo(ACCOUNT, directory);

  const env = {
    RABBITMQ_NODENAME: node,
    RABBITMQ_NODE_PORT: String(port.number),
    RABBITMQ_NODE_IP_ADDRESS: "127.0.0.1",
    RABBITMQ_DIST_PORT: String(distribution.number),
    RABBITMQ_MNESIA_BASE: inside("mnesia"),
    RABBITMQ_LOG_BASE: directory,
    RABBITMQ_PID_FILE: inside("pid"),
    RABBITMQ_ENABLED_PLUGINS_FILE: inside("plugins"),
    RABBITMQ_CONFIG_FILE: inside("rabbitmq.conf"),
    RABBITMQ_CONF_ENV_FILE: inside("environment"),
    RABBITMQ_ADVANCED_CONFIG_FILE: inside("advanced.config"),
    ERL_EPMD_PORT: String(mapper.number),
    ERL_EPMD_ADDRESS: "127.0.0.1",
    // Schedulers that spin while idle would slow everything else on a small machine.
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS:
      "+sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}",
    // Makes the start script become the Erlang VM instead of staying as its parent: `pid` is the VM's.
    RUNNING_UNDER_SYSTEMD: "true",
  };
  const program = { account: ACCOUNT, directory, env };
  const ctl = (...args: string[]): Promise<string> =>
    ask({ ...program, command: [join(scripts, "rabbitmqctl"), "-q", ...args] });
  const evaluate = (erlang: string): Promise<string> => {
    const address = `127.0.0.1:${distribution.number}`;
    // Of two that ask under one name at once the second is refused; `-r` draws from few names.
    const name = `ask-${randomBytes(8).toString("hex")}`;
    const command = ["erl_call", "-h", name, "-address", address, "-e"] as const;
    return ask({ ...program, command, input: `${erlang}.\n` });
  };
  const allow = async (user: string, vhost: string): Promise<void> => {
    const [u, v] = [binary(user), binary(vhost)];
    const all = '<<".*">>, <<".*">>, <<".*">>';
    await evaluate(`ok = rabbit_auth_backend_internal:set_permissions(${u}, ${v}, ${all}, <<"tests">>)`);
  };
  const url = `amqp://guest:guest@127.0.0.1:${port.number}`;

  return startServer(
    {
      ...program,
      name: "rabbitmq",
      command: [join(scripts, "rabbitmq-server")],
      ports: tls ? [port, distribution, tls.port] : [port, distribution],
      companion: await startPortMapper(mapper),
      startTimeoutMs: 90_000,
      answers: () => answersAmqp(url),
    },
    {
      url,
      port: port.number,
      node,
      ctl,
      eval: evaluate,
      settle: async () => {
        await evaluate("[ok = dets:sync(Table) || Table <- dets:all()]");
      },
      vhost: async (name: string) => {
        await evaluate(`ok = rabbit_vhost:add(${binary(name)}, <<"tests">>)`);
        await allow("guest", name);
        return `${url}/${encodeURIComponent(name)}`;
      },
      tls: tls && {
        url: `amqps://localhost:${tls.port.number}`,
        authority: tls.authority,
        client: async (user: string, vhosts: readonly string[] = ["/"]) => {
          const secret = binary(randomBytes(16).toString("hex"));
          await evaluate(
            `ok = rabbit_auth_backend_internal:add_user(${binary(user)}, ${secret}, <<"tests">>)`,
          );
          for (const vhost of vhosts) await allow(user, vhost);
          return tls.authority.issue(user);
        },
      },
    },
  );
}
