/** `up`, `demo`, `config`, `doctor`: commands that run or check Linkspan on this machine. */
import type { Command } from "commander";
import type { Tools } from "../tools.ts";

export function runCommands(program: Command, tools: Tools): void {
  program
    .command("up")
    .description("run the fabric: everything in one process, or the roles named")
    .option("--roles <list>", "comma-separated subset of core, api, irc, echo")
    .action(async (options: { roles?: string }) => {
      const config = await tools.config(options.roles === undefined ? {} : { LINKSPAN_ROLES: options.roles });
      const { up } = await import("../commands/up.ts");
      if (!(await up(config, tools.out("nobody"), tools.stopRequest()))) tools.fail();
    });

  program
    .command("demo")
    .description("start with fresh data, link an echo account, send a message, show what comes back")
    .action(async () => {
      const { demo } = await import("../commands/demo.ts");
      await demo(tools.out(), tools.stopRequest().signal);
    });

  program
    .command("config")
    .description("the effective configuration, redacted")
    .action(async () => {
      const { redacted } = await import("../config.ts");
      const effective = redacted(await tools.config());
      const lines = Object.entries(effective).map(([name, value]) => `${name}: ${String(value)}`);
      tools.out().result(effective, lines.join("\n"));
    });

  program
    .command("doctor")
    .description("check what this configuration needs, and tell what to do")
    .action(async () => {
      const { doctor } = await import("../commands/doctor.ts");
      if (!(await doctor(await tools.config(), tools.out()))) tools.fail();
    });
}
