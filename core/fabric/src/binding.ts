import type { Route } from "@linkspan/envelopes";
import type { Binding } from "./bus.ts";

export function matches(binding: Binding, route: Route): boolean {
  return (
    (binding.service === undefined || binding.service === route.service) &&
    (binding.instance === undefined || binding.instance === route.instance) &&
    (binding.action === undefined || binding.action === route.action) &&
    (binding.partition === undefined || binding.partition === route.partition)
  );
}
