import { type FileHandle, open } from "node:fs/promises";
import { connect, createServer, type Server } from "node:net";
import { join } from "node:path";
import { FabricError } from "@linkspan/envelopes";

/** Of a socket's path, on the strictest system. */
const MAX_SOCKET_PATH_BYTES = 103;

const DEAD = new Set(["ECONNREFUSED", "ENOENT"]);

/** A process that cannot be asked (another account's) counts as alive. */
export async function answers(directory: string, name: string): Promise<boolean> {
  await using address = await SocketAddress.of(directory, name);
  return await new Promise((resolve) => {
    const socket = connect(address.path);
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", (error) => resolve(!DEAD.has(codeOf(error))));
  });
}

/** A socket that is answered for as long as this process lives, whatever ends it. */
export class SignOfLife implements AsyncDisposable {
  readonly #server: Server;
  readonly #address: SocketAddress;

  private constructor(server: Server, address: SocketAddress) {
    this.#server = server;
    this.#address = address;
  }

  static async open(directory: string, name: string): Promise<SignOfLife> {
    const address = await SocketAddress.of(directory, name);
    const server = createServer((socket) => socket.destroy());
    try {
      await new Promise<void>((resolve, reject) => {
        server.on("error", reject); // also later: a connection that could not be accepted does no harm
        // The directory is closed; another account that may enter it must see who is dead.
        server.listen({ path: address.path, readableAll: true, writableAll: true }, resolve);
      });
    } catch (cause) {
      await address[Symbol.asyncDispose]();
      throw new FabricError("store.unavailable", `${directory} cannot hold a lock; is it on a local disk?`, {
        cause,
      });
    }
    server.unref();
    return new SignOfLife(server, address);
  }

  /** Closing removes the socket's file. */
  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
    await this.#address[Symbol.asyncDispose]();
  }
}

/** A path short enough for a socket; on Linux a deep directory is named by its descriptor. */
class SocketAddress implements AsyncDisposable {
  readonly path: string;
  readonly #directory: FileHandle | undefined;

  private constructor(path: string, directory?: FileHandle) {
    this.path = path;
    this.#directory = directory;
  }

  static async of(directory: string, name: string): Promise<SocketAddress> {
    const path = join(directory, name);
    if (Buffer.byteLength(path) <= MAX_SOCKET_PATH_BYTES || process.platform !== "linux") {
      return new SocketAddress(path);
    }
    const handle = await open(directory);
    return new SocketAddress(join("/proc/self/fd", String(handle.fd), name), handle);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#directory?.close();
  }
}

function codeOf(error: Error): string {
  return "code" in error && typeof error.code === "string" ? error.code : "";
}
