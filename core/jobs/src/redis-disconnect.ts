/**
 * Disconnecting from a Redis server that cannot be reached.
 *
 * When ioredis is told to disconnect between two connection attempts, it drops its timer and never emits
 * `end`. BullMQ waits for `end` before it continues closing. So this function waits for the next attempt and
 * makes it the last one.
 */
import { once } from "node:events";
import type { EventEmitter } from "node:events";
import { createRedisBackend, type RedisConnection, type RedisQueueBackend } from "bullmq";

/** The part of an ioredis client that is used here. */
interface Client extends EventEmitter {
  readonly status: string;
  readonly options: { retryStrategy: ((times: number) => number | null) | undefined };
}

export const createEndingRedisBackend: typeof createRedisBackend = (...args) => {
  const backend: RedisQueueBackend = createRedisBackend(...args);
  endWhileAway(backend.connection);
  if (backend.blockingConnection !== undefined) endWhileAway(backend.blockingConnection);
  return backend;
};

function endWhileAway(connection: RedisConnection): void {
  const disconnect = connection.disconnect.bind(connection);
  connection.disconnect = async (wait) => {
    const client = (await connection.client) as unknown as Client;
    const { retryStrategy } = client.options;
    client.options.retryStrategy = () => null;
    try {
      // This takes at most the longest delay between two attempts: `connecting` is emitted, then the result.
      while (client.status === "reconnecting") await once(client, "connecting");
      await disconnect(wait);
    } finally {
      client.options.retryStrategy = retryStrategy;
    }
  };
}
