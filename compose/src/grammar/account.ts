/** `link`, `send`, `events`, `identities`: commands for a person's account. */
import type { Command } from "commander";
import type { EventsOptions } from "../commands/events.ts";
import type { LinkOptions } from "../commands/link.ts";
import type { SendOptions } from "../commands/send.ts";
import type { Tools } from "../tools.ts";
import { cursor, pairs, positive } from "./values.ts";

export function accountCommands(program: Command, tools: Tools): void {
  program
    .command("link <service>")
    .description("link an account; without fields, list the fields")
    .requiredOption("--user <id>", "the backend's user it belongs to")
    .option("--field <name=value>", "a setting, such as nick=alice; repeatable", pairs, [])
    .option("--secret-file <name=path>", "a secret, read from a file; repeatable", pairs, [])
    .option("--instance <name>", "shard that serves it")
    .option("--session <id>", "continue a session that asked for more fields")
    .action(async (service: string, options: LinkOptions) => {
      const { link } = await import("../commands/link.ts");
      await link(await tools.client(), tools.out(), service, options);
    });

  program
    .command("send <text>")
    .description("send a message as a linked identity")
    .requiredOption("--identity <who>", "who sends it: an identity's id, or its name on the platform")
    .requiredOption("--to <place>", "a channel reference, or <network>/<channel or nick>")
    .option("--user <id>", "the backend's user who wants it sent; default the identity's")
    .option("--wait", "wait until it is settled, for example sent, failed or uncertain", false)
    .option("--key <key>", "idempotency key; default a new one")
    .action(async (text: string, options: SendOptions) => {
      const { send, wasSaid } = await import("../commands/send.ts");
      const intent = await send(await tools.client(), tools.out(), text, options);
      if (options.wait && !wasSaid(intent)) tools.fail();
    });

  program
    .command("events")
    .description("show what came in")
    .option("--follow", "keep showing", false)
    .option("--cursor <position>", "after this position; latest: only what comes now", cursor, 0)
    .option("--limit <n>", "at most this many; not with --follow", positive, 100)
    .action(async (options: EventsOptions) => {
      const { events } = await import("../commands/events.ts");
      await events(await tools.client(), tools.out(), options, tools.stopRequest().signal);
    });

  program
    .command("identities")
    .description("show who is linked")
    .option("--user <id>", "of this user only")
    .action(async (options: { user?: string }) => {
      const { identities } = await import("../commands/identities.ts");
      await identities(await tools.client(), tools.out(), options);
    });
}
