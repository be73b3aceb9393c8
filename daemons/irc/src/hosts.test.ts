import { expect, test } from "vitest";
import { Hosts } from "./hosts.ts";

const forever = new AbortController().signal;
const ignore = (): void => undefined;

test("attempts to one host are made a few at a time, in turn", async () => {
  const hosts = new Hosts({ attempts: 2, connections: 100 });
  const order: string[] = [];
  const enter = async (name: string) => {
    const place = await hosts.enter({ host: "a", workspaceId: "ws" }, forever, ignore);
    order.push(name);
    return place;
  };
  const [first, second] = await Promise.all([enter("1"), enter("2")]);
  const third = enter("3");
  const fourth = enter("4");
  await hosts.enter({ host: "b", workspaceId: "ws" }, forever, ignore);
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
  const first = await hosts.enter({ host: "a", workspaceId: "ws" }, forever, ignore);
  first.settled();
  const places: Record<string, number[]> = { b: [], c: [], d: [] };
  const leaving = new AbortController();
  const b = hosts.enter({ host: "a", workspaceId: "ws" }, forever, (ahead) => places["b"]?.push(ahead));
  const c = hosts.enter({ host: "a", workspaceId: "ws" }, leaving.signal, (ahead) =>
    places["c"]?.push(ahead),
  );
  const d = hosts.enter({ host: "a", workspaceId: "ws" }, forever, (ahead) => places["d"]?.push(ahead));
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
  const first = await hosts.enter({ host: "a", workspaceId: "ws" }, forever, ignore);
  const leaving = new AbortController();
  const second = hosts.enter({ host: "a", workspaceId: "ws" }, leaving.signal, ignore);
  first.leave();
  leaving.abort(new Error("too late"));
  (await second).leave();
  await hosts.enter({ host: "a", workspaceId: "ws" }, forever, ignore);
});

test.each(["IRC.Example.ORG", "irc.example.org.", "Irc.example.org.."])(
  "a host in another spelling is no other host: %s",
  async (spelled) => {
    const hosts = new Hosts({ attempts: 10, connections: 1 });
    const first = await hosts.enter({ host: "irc.example.org", workspaceId: "ws" }, forever, ignore);
    const ahead: number[] = [];
    const second = hosts.enter({ host: spelled, workspaceId: "ws" }, forever, (one) => ahead.push(one));
    expect(ahead).toEqual([0]);
    first.leave();
    (await second).leave();
  },
);

test("a workspace that fills the queue of a host keeps no other workspace waiting behind it", async () => {
  const hosts = new Hosts({ attempts: 2, connections: 100 });
  const order: string[] = [];
  const enter = async (workspaceId: string) => {
    const place = await hosts.enter({ host: "a", workspaceId }, forever, ignore);
    order.push(workspaceId);
    return place;
  };
  const flood = Array.from({ length: 20 }, () => enter("hostile"));
  const honest = [enter("honest"), enter("honest")];
  const first = await flood[0];
  await flood[1];
  first?.leave();
  const own = await honest[0];
  expect(order).toEqual(["hostile", "hostile", "honest"]);
  own?.settled();
  // The honest one has a connection and no attempt, the hostile one an attempt that does not end.
  await honest[1];
  expect(order).toEqual(["hostile", "hostile", "honest", "honest"]);
});

test("a workspace with most of a host's connections gets the next one last", async () => {
  const hosts = new Hosts({ attempts: 5, connections: 3 });
  const held = [];
  for (let i = 0; i < 3; i++) {
    const place = await hosts.enter({ host: "a", workspaceId: "hostile" }, forever, ignore);
    place.settled();
    held.push(place);
  }
  void hosts.enter({ host: "a", workspaceId: "hostile" }, forever, ignore);
  const honest = hosts.enter({ host: "a", workspaceId: "honest" }, forever, ignore);
  held[0]?.leave();
  await honest;
});

test("who gives up in the moment of being admitted takes nobody else out of the queue", async () => {
  const hosts = new Hosts({ attempts: 1, connections: 1 });
  const at = { host: "a", workspaceId: "ws" };
  const first = await hosts.enter(at, forever, ignore);
  const leaving = new AbortController();
  const second = hosts.enter(at, leaving.signal, ignore);
  const third = hosts.enter(at, forever, ignore);
  first.leave();
  leaving.abort(new Error("too late"));
  (await second).leave();
  await third;
});
