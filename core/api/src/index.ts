/** The HTTP API for backends, Msgr's clients and operators. */
export { type Api, type ApiOptions, startApi } from "./api.ts";
export { DEFAULT_WORKSPACE, WORKSPACE_HEADER } from "./auth/caller.ts";
export { hashToken, newToken } from "./auth/secrets.ts";
export { type ApiLimits, DEFAULT_LIMITS } from "./limits/limits.ts";
export type { ReadinessCheck } from "./context.ts";
export { prometheusMetrics } from "./metrics.ts";
export { type Problem, ProblemSchema, statusOf } from "./problem.ts";
