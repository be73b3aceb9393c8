/**
 * Disconnecting from a Redis server that is away.
 *
 * ioredis that is told to disconnect between two tries to connect drops its timer and never emits `end`. BullMQ waits
 * for `end` before it goes on closing. So here the next try is waited for, and it is made the last one.
 */
import { once } from "node:events";
import type { EventEmitter } from "node:events";
import { createRedisBackend, type RedisConnection, type RedisQueueBackend } from "bullmq";

/** What is used of an ioredis client. */
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
      // Within the longest time between two tries: `connecting` comes, then whether there is a server.
      while (client.status === "reconnecting") await once(client, "connecting");
      await disconnect(wait);
    } finally {
      client.options.retryStrategy = retryStrategy;
    }
  };
}
