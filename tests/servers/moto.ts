/** moto, an S3 service that others wrote. It keeps its objects in memory: a restart loses them. */
import { directoryFor } from "./account.ts";
import { executable } from "./available.ts";
import { reservePort } from "./port.ts";
import { type Server, startServer } from "./server.ts";

export interface MotoServer extends Server {
  /** `http://127.0.0.1:…`; takes any credentials. */
  readonly url: string;
  /** Creates a bucket. */
  createBucket(name: string): Promise<void>;
}

/** The environment lies in the repository, where other accounts may not read: it runs as whoever runs the tests. */
const ACCOUNT = "root";

export async function startMoto(): Promise<MotoServer> {
  const directory = directoryFor(ACCOUNT, "moto");
  const port = await reservePort();
  const url = `http://127.0.0.1:${port.number}`;
  return startServer(
    {
      name: "moto",
      command: [executable("moto"), "--host", "127.0.0.1", "--port", String(port.number)],
      account: ACCOUNT,
      directory,
      ports: [port],
      answers: async () => (await fetch(`${url}/moto-api/`)).ok,
    },
    {
      url,
      createBucket: async (name: string) => {
        const { ok, status } = await fetch(`${url}/${name}`, { method: "PUT" });
        if (!ok) throw new Error(`the bucket was answered ${status}`);
      },
    },
  );
}
