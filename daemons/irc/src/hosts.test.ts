import { expect, test } from "vitest";
import { Hosts } from "./hosts.ts";

const forever = new AbortController().signal;
const ignore = (): void => undefined;

test("attempts to one host are made a few at a time, in turn", async () => {
  const hosts = new Hosts({ attempts: 2, connections: 100 });
  const order: string[] = [];
  const enter = async (name: string) => {
    const place = await hosts.enter("a", forever, ignore);
    order.push(name);
    return place;
  };
  const [first, second] = await Promise.all([enter("1"), enter("2")]);
  const third = enter("3");
  const fourth = enter("4");
  await hosts.enter("b", forever, ignore);
  expect(order).toEqual(["1", "2"]);
  first.settled();
  first.settled();
  await third;
  expect(order).toEqual(["1", "2", "3"]);
  second.leave();
  await fourth;
  expect(order).toEqual(["1", "2", "3", "4"]);
});

test("no more connections are kept than allowed; who waits knows their place", async () => {
  const hosts = new Hosts({ attempts: 10, connections: 1 });
  const first = await hosts.enter("a", forever, ignore);
  first.settled();
  const places: Record<string, number[]> = { b: [], c: [], d: [] };
  const leaving = new AbortController();
  const b = hosts.enter("a", forever, (ahead) => places["b"]?.push(ahead));
  const c = hosts.enter("a", leaving.signal, (ahead) => places["c"]?.push(ahead));
  const d = hosts.enter("a", forever, (ahead) => places["d"]?.push(ahead));
  leaving.abort(new Error("gave up"));
  await expect(c).rejects.toThrow("gave up");
  first.leave();
  first.leave();
  (await b).leave();
  await d;
  expect(places).toEqual({ b: [0, 0], c: [1], d: [2, 1, 0] });
});

test("a place that is given up while its holder hears of it is not lost", async () => {
  const hosts = new Hosts({ attempts: 1, connections: 1 });
  const first = await hosts.enter("a", forever, ignore);
  const leaving = new AbortController();
  const second = hosts.enter("a", leaving.signal, ignore);
  first.leave();
  leaving.abort(new Error("too late"));
  (await second).leave();
  await hosts.enter("a", forever, ignore);
});
