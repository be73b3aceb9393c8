import { connect } from "/work/main/node_modules/amqplib/channel_api.js";
import { AmqpBus, ACK } from "/work/main/core/fabric/src/index.ts";
import { startRabbitmq } from "/work/main/tests/servers/rabbitmq.ts";
import { randomUUID, randomBytes } from "node:crypto";

const N = Number(process.argv[2] ?? 40000), W = 1000;
const server = await startRabbitmq();
const url = await server.vhost("bench");
const body = randomBytes(700);
const sig = randomBytes(64).toString("base64url"), kid = randomBytes(32).toString("base64url");

async function raw(name: string): Promise<number> {
  const [pc, cc] = [await connect(url, {noDelay: process.env.NODELAY === "1"}), await connect(url, {noDelay: process.env.NODELAY === "1"})];
  const p = await pc.createConfirmChannel(); const c = await cc.createChannel();
  await c.assertExchange("bridge", "topic", { durable: true });
  await c.assertQueue(name, { durable: true, arguments: { "x-queue-type": "quorum", "x-single-active-consumer": true } });
  await c.bindQueue(name, "bridge", `${name}.*.*.*`);
  await c.prefetch(W);
  const t = performance.now();
  const done = Promise.withResolvers<void>();
  let got = 0, unacked = 0;
  let lastTag = 0; 
  await c.consume(name, (m: any) => { if (!m) return;
    got++; unacked++; lastTag = m.fields.deliveryTag;
    if (unacked === 200 || got === N) { c.ack(m, true); unacked = 0; }
    if (got === N) done.resolve();
  });
  let sent = 0, confirmed = 0;
  const pub = Promise.withResolvers<void>();
  const more = () => {
    while (sent < N && sent - confirmed < W) {
      const id = `id-${sent++}-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa`;
      p.publish("bridge", `${name}._.inbound_event.p00`, body, { persistent: true, mandatory: true, contentType: "application/vnd.msgr.bridge.v1+json", messageId: id, headers: { kid, sig } }, (e: any) => { confirmed++; if (confirmed === N) pub.resolve(); else more(); });
    }
  };
  more();
  await Promise.all([done.promise, pub.promise]);
  const s = (performance.now() - t) / 1000;
  await c.deleteQueue(name);
  await pc.close(); await cc.close();
  return N / s;
}

async function fabric(name: string): Promise<number> {
  const bus = await AmqpBus.connect({ url, service: "bench", bootId: randomUUID() });
  const q = { name, kind: "partition" as const, bindings: [{ service: name }] };
  await bus.declare([q]);
  const route = { service: name, instance: "primary", action: "inbound_event", partition: 0 };
  const done = Promise.withResolvers<void>();
  let got = 0;
  const t = performance.now();
  await bus.subscribe(q, { async handle(b) { got += b.length; if (got >= N) done.resolve(); return b.map(() => ACK); } });
  let sent = 0, confirmed = 0;
  const pub = Promise.withResolvers<void>();
  const ok = () => { confirmed++; if (confirmed === N) pub.resolve(); else more(); };
  const more = () => {
    while (sent < N && sent - confirmed < W) {
      const id = `id-${sent++}-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa`;
      bus.publish({ route, body, kid, sig, messageId: id }).then(ok);
    }
  };
  more();
  await Promise.all([done.promise, pub.promise]);
  const s = (performance.now() - t) / 1000;
  await bus[Symbol.asyncDispose]();
  const c = await connect(url); const ch = await c.createChannel(); await ch.deleteQueue(name); await c.close();
  return N / s;
}
await fabric("w2");
const RC: number[] = [], FC: number[] = []; const R: number[] = [], F: number[] = [];
for (let i = 0; i < 6; i++) {
  const order = [process.env.WHICH ?? "f"];
  for (const o of order) { const c0 = process.cpuUsage(); if (o === "r") R.push(await raw(`r${i}`)); else F.push(await fabric(`f${i}`)); const c = process.cpuUsage(c0); (o === "r" ? RC : FC).push((c.user + c.system) / N); }
}
const med = (a: number[]) => a.toSorted((x, y) => x - y)[a.length >> 1]!;
console.log("raw", R.map(Math.round).join(" "), "fabric", F.map(Math.round).join(" "));
console.log("median raw", Math.round(med(R.length?R:[1])), "fabric", Math.round(med(F.length?F:[1])), "ratio", (med(F.length?F:[1]) / med(R.length?R:[1])).toFixed(3));
console.log("cpu us/msg raw", med(RC.length?RC:[1]).toFixed(1), "fabric", med(FC.length?FC:[1]).toFixed(1));
await server[Symbol.asyncDispose]();
process.exit(0);
