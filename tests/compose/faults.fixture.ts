/** Loaded before the command: throws where nobody catches, when its test says so. */
const afterMs = Number(process.env["TEST_THROW_AFTER_MS"] ?? 0);

function exception(): never {
  throw new TypeError("PASS hunter2");
}

process.on("SIGUSR2", exception);
process.on("SIGALRM", () => void Promise.reject(new TypeError("PASS hunter2")));
if (afterMs > 0) setTimeout(exception, afterMs);
