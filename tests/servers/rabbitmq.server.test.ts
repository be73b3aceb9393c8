import { connect } from "amqplib";
import { expect, test } from "vitest";
import { describeWithServers } from "./available.ts";
import { leftoversOf } from "./leftovers.ts";
import { startRabbitmq } from "./rabbitmq.ts";

describeWithServers(["rabbitmq"], "the RabbitMQ of the tests", () => {
  test("keeps a confirmed message of a quorum queue across SIGKILL, and leaves nothing behind", async () => {
    const server = await startRabbitmq();
    const url = await server.vhost("kept");
    const before = await connect(url);
    before.on("error", () => undefined); // the kill below
    const publisher = await before.createConfirmChannel();
    await publisher.assertQueue("q", { durable: true, arguments: { "x-queue-type": "quorum" } });
    publisher.sendToQueue("q", Buffer.from("confirmed"), { persistent: true });
    await publisher.waitForConfirms();
    await server.settle();

    const closed = new Promise((resolve) => before.once("close", resolve));
    const { pid } = server;
    await server.kill();
    await closed;
    expect(server.running).toBe(false);
    await server.start();
    expect(server.pid).not.toBe(pid);

    const after = await connect(url);
    const channel = await after.createChannel();
    const message = await channel.get("q", { noAck: true });
    expect(message && message.content.toString()).toBe("confirmed");
    await after.close();
    expect(await server.ctl("list_vhosts", "--no-table-headers")).toContain("kept");
    expect(await leftoversOf(server)).toEqual([]);
  });

  test("answers many who ask it at once", async () => {
    await using server = await startRabbitmq();
    const answers = await Promise.all(Array.from({ length: 12 }, () => server.eval("node()")));
    expect(answers.filter((answer) => answer.includes(server.node))).toHaveLength(12);
  });

  test("signs a client in by its certificate", async () => {
    await using server = await startRabbitmq({ tls: true });
    const { tls } = server;
    if (tls === undefined) throw new Error("no TLS");
    await server.vhost("private");
    const { cert, key } = await tls.client("daemon-1", ["private"]);
    const credentials = { mechanism: "EXTERNAL", response: () => Buffer.from("") };
    const options = { ca: [tls.authority.ca], cert, key, credentials };
    const connection = await connect(`${tls.url}/private`, options);
    await (await connection.createChannel()).assertQueue("q", { durable: true });
    await connection.close();
    await expect(connect(`${tls.url}/`, options)).rejects.toThrow("ConnectionClose");
  });
});
