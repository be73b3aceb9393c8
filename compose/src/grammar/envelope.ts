/** `envelope canonical|sign|verify|id`: filters that print one line for each input line. */
import { once } from "node:events";
import type { Command } from "commander";
import type { Filter, VerifyOptions } from "../commands/envelope.ts";
import type { Tools } from "../tools.ts";

const work = () => import("../commands/envelope.ts");

export function envelopeCommands(program: Command, tools: Tools): void {
  const filters = program.command("envelope").description("filters over lines: a line in, a line out");
  const json = () => program.opts<{ json: boolean }>().json;

  filters
    .command("canonical")
    .description("JSON to its canonical form (RFC 8785)")
    .action(async () => run((await work()).canonicalFilter));
  filters
    .command("sign")
    .description("envelope JSON to DSSE JSON")
    .requiredOption("--seed <file>", "32 bytes in hexadecimal")
    .action(async (options: { seed: string }) => run((await work()).signFilter(options.seed)));
  filters
    .command("verify")
    .description("DSSE JSON to `ok <kid> <message_id>` or `<code> <detail>`")
    .requiredOption("--keys <file>", 'key records: {"keys": [...]}')
    .option("--topic <topic>", "the topic it arrived on")
    .option("--at <time>", "verify as of this time; default now")
    .action(async (options: VerifyOptions) => run((await work()).verifyFilter(options)));
  filters
    .command("id")
    .description("identity array to `<message_id> <trace_id>`")
    .action(async () => run((await work()).idFilter));

  async function run(filter: Filter): Promise<void> {
    const { filterLines } = await work();
    tools.out();
    const failures = await filterLines(process.stdin, filter, async (answer) => {
      const taken = process.stdout.write(`${json() ? answer.json : answer.text}\n`);
      if (!taken) await once(process.stdout, "drain");
    });
    if (failures > 0) tools.fail();
  }
}
