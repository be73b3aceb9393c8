/** `daemon`: enrolling daemons, and what becomes of their keys. */
import type { Command } from "commander";
import type { Rotation } from "../commands/daemon-keys.ts";
import type { Tools } from "../tools.ts";
import { position } from "./values.ts";

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
}
