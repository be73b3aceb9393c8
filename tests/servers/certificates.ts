/** A throw-away certificate authority, made with the openssl command, for servers that speak TLS on loopback. */
import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

export interface Certificate {
  readonly certFile: string;
  readonly keyFile: string;
  readonly cert: string;
  readonly key: string;
}

export interface Authority {
  /** PEM; what a client trusts. */
  readonly ca: string;
  readonly caFile: string;
  /** A certificate for server and client use, valid for `localhost`, 127.0.0.1 and a day. */
  issue(commonName: string): Promise<Certificate>;
}

const KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];

/** Files go into `directory`, which must exist. */
export async function createAuthority(directory: string): Promise<Authority> {
  const caFile = join(directory, "ca.pem");
  const caKeyFile = join(directory, "ca.key");
  const ca = ["-x509", "-days", "1", "-subj", "/CN=test authority", "-keyout", caKeyFile, "-out", caFile];
  await run("openssl", ["req", ...KEY, ...ca]);

  async function issue(commonName: string): Promise<Certificate> {
    const at = (suffix: string): string => join(directory, `${commonName}.${suffix}`);
    const [certFile, keyFile, requestFile, extensionFile] = [at("pem"), at("key"), at("csr"), at("ext")];
    writeFileSync(
      extensionFile,
      "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n",
    );
    await run("openssl", [
      "req",
      ...KEY,
      "-subj",
      `/CN=${commonName}`,
      "-keyout",
      keyFile,
      "-out",
      requestFile,
    ]);
    const signing = ["-CA", caFile, "-CAkey", caKeyFile, "-CAcreateserial", "-days", "1"];
    const files = ["-in", requestFile, "-extfile", extensionFile, "-out", certFile];
    await run("openssl", ["x509", "-req", ...signing, ...files]);
    return { certFile, keyFile, cert: readFileSync(certFile, "utf8"), key: readFileSync(keyFile, "utf8") };
  }

  return { ca: readFileSync(caFile, "utf8"), caFile, issue };
}
