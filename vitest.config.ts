import { defineConfig } from "vitest/config";

/** `unit` runs anywhere in seconds; `servers` starts real brokers, databases and chat servers. */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["**/*.test.ts"],
          exclude: ["**/node_modules/**", "**/*.server.test.ts"],
        },
      },
      {
        test: {
          name: "servers",
          include: ["**/*.server.test.ts"],
          exclude: ["**/node_modules/**"],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
