/**
 * Publishes a corpus to RabbitMQ with confirms and a window, as its own process: `publisher.ts <url> <exchange>
 * <count> <run>`. Prints `ready`, starts on a line of standard input, ends when all is confirmed.
 */
import { once } from "node:events";
import amqp from "amqplib";
import { ENVELOPE_TYPE, routingKey } from "@linkspan/envelopes";
import { corpus } from "./corpus.ts";

const WINDOW = 1_000;
const [url = "", exchange = "", count = "0", run = ""] = process.argv.slice(2);

const connection = await amqp.connect(url);
const channel = await connection.createConfirmChannel();
const messages = corpus(Number(count), run);
process.stdin.once("end", () => process.exit(1)); // who started it has ended
process.stdout.write("ready\n");
await once(process.stdin, "data");

let unconfirmed = 0;
let failure: Error | undefined;
let wake = () => undefined as void;
for (const { body, kid, sig, route, messageId } of messages) {
  const options = { persistent: true, messageId, contentType: ENVELOPE_TYPE, headers: { kid, sig } };
  unconfirmed += 1;
  channel.publish(exchange, routingKey(route), Buffer.from(body), options, (error) => {
    unconfirmed -= 1;
    if (error instanceof Error) failure ??= error;
    wake();
  });
  if (unconfirmed >= WINDOW) {
    await new Promise<void>((resolve) => {
      wake = resolve;
    });
  }
}
await channel.waitForConfirms();
if (failure !== undefined) throw failure;
await connection.close();
process.exit(0);
