/**
 * The `linkspan` command: its grammar is in `grammar/`, the implementation of each command in `commands/`.
 * The modules of a command are loaded only when it is used: a filter must not wait for a database driver to
 * load.
 */
import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { complain } from "./complain.ts";
import { accountCommands } from "./grammar/account.ts";
import { daemonCommands } from "./grammar/daemon.ts";
import { envelopeCommands } from "./grammar/envelope.ts";
import { operateCommands } from "./grammar/operate.ts";
import { operandsLast } from "./grammar/operands.ts";
import { runCommands } from "./grammar/run.ts";
import { type Env, toolsFor } from "./tools.ts";

/** @returns the exit code: 0 success, 1 failure */
export async function run(argv: readonly string[], env: Env): Promise<number> {
  const program = new Command("linkspan")
    .description("A message-queue connector fabric: chat platforms for a backend's users, as themselves.")
    .version(version())
    .option("--json", "print JSON lines", false)
    .option("--workspace <id>", "the workspace that the command is about; LINKSPAN_WORKSPACE")
    .exitOverride();
  const tools = toolsFor(env, () => program.opts());
  runCommands(program, tools);
  accountCommands(program, tools);
  operateCommands(program, tools);
  daemonCommands(program, tools);
  envelopeCommands(program, tools);
  try {
    await program.parseAsync(operandsLast(argv));
    return tools.exitCode();
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode;
    await complain(error, process.stderr, program.opts<{ json: boolean }>().json);
    return 1;
  }
}

function version(): string {
  const manifest = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(manifest) as { version: string }).version;
}
