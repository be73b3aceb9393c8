/**
 * The server's settings: durable, small, quiet. Given on its command line, so that every start has those of
 * this version whatever is in the data directory.
 */
import { chmod, chown, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { clientName } from "./account.ts";
import type { Place } from "./place.ts";

/** Owns the database of the same name and nothing else; no superuser. */
export const ROLE = "linkspan";
export const DATABASE = "linkspan";
/** Names the socket file; nothing listens on the network. */
const PORT = 5432;

const DURABLE = {
  fsync: "on",
  synchronous_commit: "on",
  full_page_writes: "on",
};

const SMALL = {
  max_connections: "40",
  shared_buffers: "32MB",
  work_mem: "4MB",
  maintenance_work_mem: "32MB",
  effective_cache_size: "128MB",
  max_wal_size: "256MB",
  jit: "off",
  // one process less each: I/O workers, parallel workers, replication, a second vacuum
  io_method: "sync",
  max_worker_processes: "1",
  max_parallel_workers: "0",
  max_parallel_workers_per_gather: "0",
  max_parallel_maintenance_workers: "0",
  max_logical_replication_workers: "0",
  max_wal_senders: "0",
  wal_level: "minimal",
  autovacuum_max_workers: "1",
};

/** Its log never has a statement, a parameter or a row: they hold what people wrote. */
const QUIET = {
  log_destination: "stderr",
  logging_collector: "off",
  log_line_prefix: "",
  log_min_messages: "log",
  log_min_error_statement: "panic",
  log_error_verbosity: "terse",
  log_checkpoints: "off",
  lc_messages: "C",
  log_timezone: "UTC",
  TimeZone: "UTC",
};

export function serverArguments(place: Place, socketDirectory: string): string[] {
  const settings: Readonly<Record<string, string>> = {
    ...DURABLE,
    ...SMALL,
    ...QUIET,
    listen_addresses: "",
    port: String(PORT),
    unix_socket_directories: socketDirectory,
    unix_socket_permissions: "0700",
    hba_file: accessFile(place),
    ident_file: mapFile(place),
  };
  const flags = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  return ["-D", place.cluster, ...flags];
}

/** Holds no secret: the kernel tells the server who connects. */
export function urlOf(socketDirectory: string): string {
  return `postgresql://${ROLE}@localhost:${PORT}/${DATABASE}?host=${encodeURIComponent(socketDirectory)}`;
}

/**
 * Only the account that this process runs as may connect, as {@link ROLE} or, for maintenance, as the
 * superuser `postgres`. The socket's directory is closed to others besides; on a machine where another
 * program runs as the same unprivileged account, that alone would let it in.
 */
export async function writeAccess(place: Place): Promise<void> {
  const client = clientName();
  const access = `local all "${ROLE}","postgres" peer map=linkspan\n`;
  const map = `linkspan "${client}" "${ROLE}"\nlinkspan "${client}" "postgres"\n`;
  await writeFor(place, accessFile(place), access);
  await writeFor(place, mapFile(place), map);
}

async function writeFor(place: Place, file: string, text: string): Promise<void> {
  await writeFile(file, text, { mode: 0o600 });
  if (place.account === undefined) return;
  const { uid } = await stat(file);
  await chown(file, uid, place.account.gid);
  await chmod(file, 0o640); // the server reads who may connect and cannot change it
}

function accessFile(place: Place): string {
  return join(place.conf, "access.conf");
}

function mapFile(place: Place): string {
  return join(place.conf, "map.conf");
}
