/**
 * The `linkspan` command. Each command's work is in `commands/`; this file is its grammar. What starts servers
 * is loaded when it is asked for, so that filters answer at once.
 */
import { readFileSync } from "node:fs";
import { isFabricError } from "@linkspan/envelopes";
import { Command, CommanderError, Option } from "commander";
import { connect } from "./client.ts";
import * as account from "./commands/account.ts";
import * as envelope from "./commands/envelope.ts";
import * as operate from "./commands/operate.ts";
import { ConfigError, readConfig, redacted } from "./config.ts";
import { outputTo } from "./output.ts";

const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  version: string;
};

const program = new Command("linkspan")
  .description("A message-queue connector fabric: chat platforms for a backend's users, as themselves.")
  .version(version)
  .option("--json", "print JSON lines", false)
  .exitOverride();

const out = () => outputTo(process.stdout, process.stderr, program.opts<{ json: boolean }>().json);
const config = () => readConfig(process.env);
const client = () => connect(config());
const collect = (value: string, before: string[]) => [...before, value];
const integer = (value: string) => Number.parseInt(value, 10);

program
  .command("up")
  .description("run the fabric: everything in one process, or the roles named")
  .option("--roles <list>", "comma-separated subset of core, api, irc, echo")
  .action(async (options: { roles?: string }) => {
    const env = options.roles === undefined ? process.env : { ...process.env, LINKSPAN_ROLES: options.roles };
    const { up } = await import("./commands/up.ts");
    await up(readConfig(env), interrupted());
  });

program
  .command("demo")
  .description("start with fresh data, link an echo account, say something, show what comes back")
  .action(async () => {
    const { demo } = await import("./commands/demo.ts");
    await demo(out(), interrupted());
  });

program
  .command("link <service>")
  .description("link an account")
  .requiredOption("--user <id>", "the backend's user it belongs to")
  .option("--field <name=value>", "a setting, such as nick=alice; repeatable", collect, [])
  .option("--secret-file <name=path>", "a secret, read from a file; repeatable", collect, [])
  .option("--instance <name>", "shard that serves it")
  .action(async (service: string, options: account.LinkOptions) => {
    await account.link(await client(), out(), service, options);
  });

program
  .command("send <text>")
  .description("say something as a linked identity")
  .requiredOption("--identity <id>", "who says it")
  .requiredOption("--user <id>", "the backend's user it belongs to")
  .requiredOption("--to <conversation>", "a channel reference, or <network>/<channel>")
  .option("--wait", "until it was sent or was not", false)
  .option("--key <key>", "idempotency key; default a new one")
  .action(async (text: string, options: account.SendOptions) => {
    const intent = await account.send(await client(), out(), text, options);
    if (options.wait && !["sent", "delivered", "read"].includes(intent.state)) process.exitCode = 1;
  });

program
  .command("events")
  .description("show what came in")
  .option("--follow", "keep showing", false)
  .option("--cursor <position>", "after this position", integer, 0)
  .option("--limit <n>", "at most this many", integer, 100)
  .action(async (options: account.EventsOptions) =>
    account.events(await client(), out(), options, interrupted()),
  );

program
  .command("audit")
  .description("show who did what")
  .option("--subject <id>", "of one intent, identity or session")
  .option("--limit <n>", "at most this many", integer, 50)
  .action(async (options: { subject?: string; limit: number }) =>
    operate.showAudit(await client(), out(), options),
  );

const quarantine = program.command("quarantine").description("refused envelopes");
quarantine
  .command("list")
  .addOption(new Option("--state <state>").choices(["open", "retried", "dropped"]).default("open"))
  .option("--limit <n>", "at most this many", integer, 50)
  .action(async (options: { state: string; limit: number }) =>
    operate.listQuarantine(await client(), out(), options),
  );
quarantine
  .command("show <id>")
  .action(async (id: string) => operate.showQuarantined(await client(), out(), id));
for (const what of ["retry", "drop"] as const) {
  quarantine
    .command(`${what} <id>`)
    .action(async (id: string) => operate.settleQuarantined(await client(), out(), id, what));
}

program
  .command("replay")
  .description("send committed events again to one named subscriber, marked as a replay")
  .requiredOption("--subscriber <name>", "who gets them")
  .option("--from <position>", "after this position", integer, 0)
  .option("--to <position>", "up to and including this position", integer)
  .action(async (options: { subscriber: string; from: number; to?: number }) =>
    operate.replay(await client(), out(), options),
  );

const daemon = program.command("daemon").description("connector daemons");
daemon
  .command("enrol <service>")
  .description("issue a one-time token with which a daemon registers its keys")
  .option("--instance <name>", "shard it will hold", "primary")
  .action(async (service: string, options: { instance: string }) =>
    operate.enrolDaemon(await client(), out(), service, options.instance),
  );

program
  .command("token <name>")
  .description("create an API token")
  .addOption(
    new Option("--role <role>")
      .choices(["owner", "admin", "operator", "auditor", "backend"])
      .default("backend"),
  )
  .option("--workspace <id>", "the workspace it is bound to", "default")
  .action(async (name: string, options: { role: string; workspace: string }) =>
    operate.createToken(await client(), out(), { name, ...options }),
  );

const filters = program.command("envelope").description("filters over lines: a line in, a line out");
filters.command("canonical").action(() => filter(envelope.canonicalFilter));
filters
  .command("sign")
  .requiredOption("--seed <file>", "32 bytes in hexadecimal")
  .action((options: { seed: string }) => filter(envelope.signFilter(options.seed)));
filters
  .command("verify")
  .requiredOption("--keys <file>", 'key records: {"keys": [...]}')
  .option("--topic <topic>", "the topic it arrived on")
  .option("--at <time>", "verify as of this time")
  .action((options: envelope.VerifyOptions) => filter(envelope.verifyFilter(options)));
filters.command("id").action(() => filter(envelope.idFilter));

program
  .command("config")
  .description("the effective configuration, redacted")
  .action(() => {
    const effective = redacted(config());
    const text = Object.entries(effective).map(([name, value]) => `${name}: ${String(value)}`);
    out().result(effective, text.join("\n"));
  });

program
  .command("doctor")
  .description("check what this configuration needs, and say what to do")
  .action(async () => {
    const { doctor } = await import("./commands/doctor.ts");
    if (!(await doctor(config(), out()))) process.exitCode = 1;
  });

async function filter(run: envelope.Filter): Promise<void> {
  const failures = await envelope.filterLines(process.stdin, run, (line) =>
    process.stdout.write(`${line}\n`),
  );
  if (failures > 0) process.exitCode = 1;
}

/** Aborts on the first interrupt; a second one ends the process at once. */
function interrupted(): AbortSignal {
  const controller = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => controller.abort());
  return controller.signal;
}

function complain(error: unknown): void {
  if (error instanceof CommanderError) process.exitCode = error.exitCode;
  else {
    const known = isFabricError(error) || error instanceof ConfigError;
    process.stderr.write(`linkspan: ${known ? error.message : ((error as Error).stack ?? String(error))}\n`);
    if (isFabricError(error)) process.stderr.write(`  ${error.code}\n`);
    process.exitCode = 1;
  }
}

await program.parseAsync().catch(complain);
