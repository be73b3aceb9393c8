import { AmqpBus, ACK } from "/work/main/core/fabric/src/index.ts";
import { startRabbitmq } from "/work/main/tests/servers/rabbitmq.ts";
import { randomUUID } from "node:crypto";
const server = await startRabbitmq();
const vhost = "v";
await server.vhost(vhost);
const t0 = performance.now();
const mk = (n: string) =>
  AmqpBus.connect({
    url: server.url,
    vhost,
    service: "irc",
    bootId: randomUUID(),
    heartbeatSeconds: 1,
    connectTimeoutMs: 2000,
    reconnect: { minMs: 50, maxMs: 500 },
    listener: (e) => console.log(Math.round(performance.now() - t0), n, JSON.stringify(e)),
  });
const pub = await mk("pub"),
  core = await mk("core");
const Q = { name: "q", kind: "partition" as const, bindings: [{ service: "irc" }] };
await core.declare([Q]);
let got = 0,
  ok = 0,
  bad = 0;
await core.subscribe(Q, {
  async handle(b) {
    got += b.length;
    return b.map(() => ACK);
  },
});
const N = 3000;
for (let i = 0; i < N; i++)
  pub
    .publish({
      route: { service: "irc", instance: "primary", action: "inbound_event", partition: 0 },
      body: Buffer.from("x" + i),
      messageId: "m" + i,
    })
    .then(
      () => ok++,
      (e) => {
        bad++;
        console.log(e.code, e.message);
      },
    );
while (ok < 100) await new Promise((r) => setTimeout(r, 5));
console.log("kill at ok", ok);
await server.kill();
await server.start();
console.log(Math.round(performance.now() - t0), "restarted");
for (let i = 0; i < 6; i++) {
  await new Promise((r) => setTimeout(r, 1000));
  console.log(
    Math.round(performance.now() - t0),
    "ok",
    ok,
    "bad",
    bad,
    "got",
    got,
    pub.health(),
    core.health(),
  );
  if (ok + bad === N) break;
}
console.log(
  await server.ctl(
    "list_queues",
    "-p",
    vhost,
    "name",
    "messages",
    "messages_unacknowledged",
    "consumers",
    "state",
  ),
);
await server[Symbol.asyncDispose]();
process.exit(0);
