/** `daemon` and `backend`: enrolling them, and managing their keys. */
import type { Command } from "commander";
import type { Rotation } from "../commands/daemon-keys.ts";
import type { Tools } from "../tools.ts";
import { list, position } from "./values.ts";

const work = () => import("../commands/daemon-keys.ts");
const TOKEN_FILE = "--token-file <path>";
const ABOUT_TOKEN_FILE = "write the token there, for its owner only, instead of showing it";

export function daemonCommands(program: Command, tools: Tools): void {
  const daemon = program.command("daemon").description("connector daemons");
  daemon
    .command("enrol <service>")
    .description("issue a one-time token with which a daemon registers its keys")
    .option("--instance <name>", "shard it will hold", "primary")
    .option(TOKEN_FILE, ABOUT_TOKEN_FILE)
    .action(async (service: string, options: { instance: string; tokenFile?: string }) => {
      const { enrolDaemon } = await work();
      await enrolDaemon(await tools.client(), tools.out(), { service, ...options });
    });
  daemon
    .command("keys")
    .description("list the keys of the core, of daemons and backends")
    .action(async () => {
      const { listKeys } = await work();
      await listKeys(await tools.client(), tools.out());
    });
  daemon
    .command("revoke <kid>")
    .description("end a key now, for good")
    .requiredOption("--why <reason>", "for the audit")
    .action(async (kid: string, options: { why: string }) => {
      const { revokeKey } = await work();
      await revokeKey(await tools.client(), tools.out(), kid, options);
    });
  daemon
    .command("rotate <kid>")
    .description("issue a one-time token with which a daemon registers a new key in place of this one")
    .option("--grace <seconds>", "how long the old key stays good beside the new one", position, 0)
    .option(TOKEN_FILE, ABOUT_TOKEN_FILE)
    .action(async (kid: string, options: Rotation) => {
      const { rotateKey } = await work();
      await rotateKey(await tools.client(), tools.out(), kid, options);
    });

  program
    .command("backend")
    .description("backends that submit intents on the bus; their keys are listed and ended under daemon")
    .command("enrol <name>")
    .description("issue a one-time token with which a backend registers its key")
    .requiredOption(
      "--for <workspaces>",
      "workspaces that it submits intents for, with commas; * for all",
      list,
    )
    .option(TOKEN_FILE, ABOUT_TOKEN_FILE)
    .action(async (name: string, options: { for: readonly string[]; tokenFile?: string }) => {
      const { enrolBackend } = await work();
      const { for: workspaces, ...rest } = options;
      await enrolBackend(await tools.client(), tools.out(), name, { workspaces, ...rest });
    });
}
