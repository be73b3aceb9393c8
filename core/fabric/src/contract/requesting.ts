import { expect } from "vitest";
import { ACK, type Bus, type Delivery, type QueueSpec } from "../bus.ts";
import { type BusCase, eventually, ids, message, outcome, recorder } from "./case.ts";

const REQUESTS: QueueSpec = { name: "core.requests", kind: "shared", bindings: [{ service: "core" }] };
const HELLO = { service: "core", instance: "primary", action: "hello", partition: 0 };

export const REQUESTING: Record<string, BusCase> = {
  "brings each request its own answer": async (harness) => {
    const [daemon, core] = [await harness.connect("irc"), await harness.connect("core")];
    await core.declare([REQUESTS]);
    await answering(core, async (delivery) => {
      const body = Buffer.from(`answer to ${delivery.messageId}`);
      const inReplyTo = delivery.messageId ?? "";
      const outgoing = { route: HELLO, body, messageId: `re:${inReplyTo}`, inReplyTo, kid: "k", sig: "s" };
      await core.reply(delivery.replyTo ?? "", outgoing);
    });
    const asked = ids(20).map((id) => daemon.request(message(id, { route: HELLO }), { timeoutMs: 5_000 }));
    const answers = await Promise.all(asked);
    expect(answers.map(({ body }) => Buffer.from(body).toString())).toEqual(ids(20, "answer to "));
    expect(answers[0]).toMatchObject({ messageId: "re:0", inReplyTo: "0", kid: "k", sig: "s", route: HELLO });
  },

  "lets each side relate an answer to its request by the correlation id, beside ours": async (harness) => {
    const [daemon, core] = [await harness.connect("irc"), await harness.connect("core")];
    await core.declare([REQUESTS]);
    const seen: Delivery[] = [];
    await answering(core, async (delivery) => {
      seen.push({ ...delivery });
      const { messageId: inReplyTo = "", correlationId, replyTo = "" } = delivery;
      const answer = { route: HELLO, inReplyTo, ...(correlationId !== undefined && { correlationId }) };
      await core.reply(replyTo, message(`re:${inReplyTo}`, answer));
    });
    const ask = (id: string, own?: string) =>
      daemon.request(message(id, { route: HELLO, ...(own !== undefined && { correlationId: own }) }), {
        timeoutMs: 5_000,
      });
    expect(await ask("1")).toMatchObject({ inReplyTo: "1", correlationId: "1" });
    expect(await ask("2", "a word of its own")).toMatchObject({
      inReplyTo: "2",
      correlationId: "a word of its own",
    });
    expect(seen.map(({ inReplyTo, correlationId }) => [inReplyTo, correlationId])).toEqual([
      [undefined, "1"],
      [undefined, "a word of its own"],
    ]);
  },

  "takes an answer that only repeats the correlation id": async (harness) => {
    const [daemon, core] = [await harness.connect("irc"), await harness.connect("core")];
    await core.declare([REQUESTS]);
    await answering(core, async ({ messageId = "", correlationId, replyTo = "" }) => {
      const answer = { route: HELLO, ...(correlationId !== undefined && { correlationId }) };
      await core.reply(replyTo, message(`re:${messageId}`, answer));
    });
    const answer = await daemon.request(message("1", { route: HELLO }), { timeoutMs: 5_000 });
    expect(answer).toMatchObject({ messageId: "re:1", inReplyTo: "1", correlationId: "1" });
  },

  "lets a request time out, be called off, or find nobody": async (harness) => {
    const [daemon, core] = [await harness.connect("irc"), await harness.connect("core")];
    await core.declare([]);
    const nobody = outcome(daemon.request(message("0", { route: HELLO }), { timeoutMs: 5_000 }));
    expect(await nobody).toBe("bus.unroutable");
    await core.declare([REQUESTS]);
    const seen = recorder();
    await core.subscribe(REQUESTS, seen);
    expect(await outcome(daemon.request(message("1", { route: HELLO }), { timeoutMs: 30 }))).toBe(
      "bus.timeout",
    );
    const call = new AbortController();
    const { signal } = call;
    const off = outcome(daemon.request(message("2", { route: HELLO }), { timeoutMs: 60_000, signal }));
    await eventually(harness, "it is asked", () => seen.ids.includes("2"));
    call.abort();
    expect(await off).toBe("bus.timeout");
  },

  "takes an answer to nobody for granted": async (harness) => {
    const [daemon, core] = [await harness.connect("irc"), await harness.connect("core")];
    await core.declare([REQUESTS]);
    const seen = recorder();
    await core.subscribe(REQUESTS, seen);
    const givenUp = new AbortController();
    const options = { timeoutMs: 30_000, signal: givenUp.signal };
    const asking = Promise.allSettled([daemon.request(message("1", { route: HELLO }), options)]);
    await eventually(harness, "it is asked", () => seen.ids.length === 1);
    givenUp.abort();
    await asking;
    const to = seen.deliveries[0]?.replyTo ?? "";
    const answer = message("re:1", { route: HELLO, inReplyTo: "1" });
    expect(await outcome(core.reply(to, answer))).toBe("confirmed");
    await harness.crash(daemon);
    expect(await outcome(core.reply(to, answer))).toBe("confirmed");
  },

  "answers to return addresses only": async (harness) => {
    const core = await harness.connect("core");
    for (const to of ["core._.hello.p00", "reply.irc._.a.b", "reply.#", "bridge.dead", ""]) {
      expect(await outcome(core.reply(to, message("x")))).toBe("topic.malformed");
    }
  },

  "still answers after a lost connection": async (harness) => {
    const [daemon, core] = [await harness.connect("irc"), await harness.connect("core")];
    await core.declare([REQUESTS]);
    await answering(core, async ({ messageId = "", replyTo = "" }) => {
      await core.reply(replyTo, message(`re:${messageId}`, { route: HELLO, inReplyTo: messageId }));
    });
    await harness.cut(daemon);
    await harness.cut(core);
    let answered = false;
    for (const id of ids(50)) {
      answered ||=
        (await outcome(daemon.request(message(id, { route: HELLO }), { timeoutMs: 500 }))) === "confirmed";
      if (answered) break;
    }
    expect(answered).toBe(true);
  },
};

async function answering(bus: Bus, answer: (delivery: Delivery) => Promise<void>): Promise<void> {
  await bus.subscribe(REQUESTS, {
    async handle(batch) {
      await Promise.all(batch.map(({ delivery }) => answer(delivery)));
      return batch.map(() => ACK);
    },
  });
}
