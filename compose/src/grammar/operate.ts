/** `audit`, `quarantine`, `replay`, `token`: commands for operators. */
import { type Command, Option } from "commander";
import type { ReplayOptions } from "../commands/operate.ts";
import type { Tools } from "../tools.ts";
import { positive } from "./values.ts";

const work = () => import("../commands/operate.ts");

export function operateCommands(program: Command, tools: Tools): void {
  program
    .command("audit")
    .description("show who did what")
    .option("--subject <id>", "of one intent, identity or session")
    .option("--limit <n>", "at most this many", positive, 50)
    .option("--refusals", "what was refused instead, counted by the minute", false)
    .action(async (options: { subject?: string; limit: number; refusals: boolean }) => {
      const { showAudit, showRefusals } = await work();
      const show = options.refusals ? showRefusals : showAudit;
      await show(await tools.client(), tools.out(), options);
    });

  const quarantine = program.command("quarantine").description("refused envelopes");
  quarantine
    .command("list")
    .description("what was refused, newest first")
    .addOption(new Option("--state <state>").choices(["open", "retried", "dropped", "all"]).default("open"))
    .option("--limit <n>", "at most this many", positive, 50)
    .action(async (options: { state: string; limit: number }) => {
      const { listQuarantine } = await work();
      await listQuarantine(await tools.client(), tools.out(), options);
    });
  quarantine
    .command("show <id>")
    .description("one refused envelope with its bytes")
    .action(async (id: string) => {
      const { showQuarantined } = await work();
      await showQuarantined(await tools.client(), tools.out(), id);
    });
  for (const what of ["retry", "drop"] as const) {
    quarantine
      .command(`${what} <id>`)
      .description(
        what === "retry" ? "publish it again, unchanged" : "drop it for good; its bytes stay for the record",
      )
      .action(async (id: string) => {
        const { settleQuarantined } = await work();
        await settleQuarantined(await tools.client(), tools.out(), id, what);
      });
  }

  quarantine
    .command("stuck")
    .description("messages that fail again and again and are not in quarantine yet")
    .option("--limit <n>", "at most this many", positive, 50)
    .action(async (options: { limit: number }) => {
      const { listStuck } = await work();
      await listStuck(await tools.client(), tools.out(), options);
    });
  quarantine
    .command("give-up <queue> <message-id>")
    .description("move a stuck message to quarantine, so that what waits behind it goes on")
    .action(async (queue: string, messageId: string) => {
      const { giveUp } = await work();
      if (!(await giveUp(await tools.client(), tools.out(), queue, messageId))) tools.fail();
    });

  program
    .command("replay")
    .description("send committed events again to one named subscriber, marked as a replay")
    .requiredOption("--subscriber <name>", "who gets them, on bridge/core/<name>/fanout")
    .option("--from <position>", "first position", positive, 1)
    .option("--to <position>", "last position; default the newest", positive)
    .action(async (options: ReplayOptions) => {
      const { replay } = await work();
      await replay(await tools.client(), tools.out(), options);
    });

  program
    .command("token <name>")
    .description("create an API token, bound to the workspace; --workspace '*' for all")
    .addOption(
      new Option("--role <role>")
        .choices(["owner", "admin", "operator", "auditor", "backend"])
        .default("backend"),
    )
    .action(async (name: string, options: { role: string }) => {
      const { createToken } = await work();
      await createToken(await tools.client(), tools.out(), { name, ...options });
    });
}
