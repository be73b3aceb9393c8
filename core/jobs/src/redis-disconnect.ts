/**
 * Disconnecting from a Redis server that cannot be reached.
 *
 * ioredis that is told to disconnect between two tries to connect drops its timer and never emits `end`. BullMQ waits
 * for `end` before it goes on closing. So the next try is waited for: told to disconnect during it, ioredis does end.
 */
import { createRedisBackend, type RedisConnection, type RedisQueueBackend } from "bullmq";

export const createEndingRedisBackend: typeof createRedisBackend = (...args) => {
  const backend: RedisQueueBackend = createRedisBackend(...args);
  endWhileAway(backend.connection);
  if (backend.blockingConnection !== undefined) endWhileAway(backend.blockingConnection);
  return backend;
};

function endWhileAway(connection: RedisConnection): void {
  const disconnect = connection.disconnect.bind(connection);
  connection.disconnect = async (wait) => {
    const client = await connection.client;
    // At most as long as the retry strategy pauses between two tries.
    while (client.status === "reconnecting") {
      await new Promise<void>((resolve) => client.once("connecting", resolve));
    }
    await disconnect(wait);
  };
}
