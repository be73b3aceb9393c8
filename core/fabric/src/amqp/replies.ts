/** The reply queue of one process: exclusive, made at the first request, restored with its connection. */
import type { Channel, ChannelModel } from "amqplib";
import type { ReplyAddress } from "../bus.ts";
import type { Requests } from "../requests.ts";
import { unavailable } from "./link.ts";
import { declareTransient } from "./topology.ts";
import type { Wire } from "./wire.ts";

export class Replies {
  readonly #address: ReplyAddress;
  readonly #wire: Wire;
  readonly #requests: Requests;
  #opening: Promise<Channel> | undefined;
  #wanted = false;

  constructor(address: ReplyAddress, wire: Wire, requests: Requests) {
    this.#address = address;
    this.#wire = wire;
    this.#requests = requests;
  }

  /** Resolves when answers arrive. @throws FabricError `bus.unavailable` */
  async ready(connection: ChannelModel): Promise<void> {
    this.#wanted = true;
    this.#opening ??= this.#open(connection);
    const opening = this.#opening;
    try {
      await opening;
    } catch (error) {
      if (this.#opening === opening) this.#opening = undefined;
      throw unavailable(error);
    }
  }

  async restore(connection: ChannelModel): Promise<void> {
    this.#opening = undefined;
    if (this.#wanted) await this.ready(connection);
  }

  /** Its name is new each time: the broker may not know yet that the last one's connection is gone. */
  async #open(connection: ChannelModel): Promise<Channel> {
    const channel = await connection.createChannel();
    let fault: unknown;
    channel.on("error", (error) => {
      fault = error;
    });
    channel.on("close", () => {
      this.#opening = undefined;
    });
    try {
      const name = `${this.#address}.${crypto.randomUUID()}`;
      await declareTransient(channel, name, [this.#address]);
      await channel.consume(
        name,
        (message) => message && this.#requests.answered(this.#wire.decodeReply(message)),
        {
          noAck: true,
        },
      );
      return channel;
    } catch (error) {
      throw fault ?? error;
    }
  }
}
