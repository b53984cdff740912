// A whole story, told by a client that was generated from the contract: what does
// not fit its types does not compile, and what goes wrong ends the process with 1.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

declare const process: { env: Record<string, string | undefined> };

type Problem = components["schemas"]["Problem"];
type Delivery = components["schemas"]["Delivery"];

const api = createClient<paths>({ baseUrl: `${process.env.ZBUS_URL}/api/v1` });
const topic = "ts:orders"; // a colon, to see that it is escaped where it must be
const group = "billing";

/** ok is the data of an answer that has to be a success. */
function ok<T>(answer: { data?: T; error?: Problem; response: Response }): T {
  if (answer.error !== undefined || answer.data === undefined) {
    throw new Error(`${answer.response.url}: ${answer.response.status} ${JSON.stringify(answer.error)}`);
  }
  return answer.data;
}

function equal(what: string, got: unknown, want: unknown): void {
  if (JSON.stringify(got) !== JSON.stringify(want)) {
    throw new Error(`${what}: got ${JSON.stringify(got)}, want ${JSON.stringify(want)}`);
  }
}

async function pull(max: number): Promise<Delivery[]> {
  const params = { path: { topic, group } };
  return ok(await api.POST("/topics/{topic}/groups/{group}:pull", { params, body: { max, timeout: 5000 } })).deliveries;
}

async function ack(deliveries: Delivery[]): Promise<void> {
  const handles = deliveries.map((d) => d.handle ?? "");
  const params = { path: { topic, group } };
  const answer = ok(await api.POST("/topics/{topic}/groups/{group}:ack", { params, body: { handles } }));
  equal("settled", answer.settled, handles.length);
}

const offsets = (list: { offset: string }[]): string[] => list.map((m) => m.offset);

equal("topic", ok(await api.POST("/topics", { body: { name: topic } })).name, topic);
const twice = await api.POST("/topics", { body: { name: topic } });
equal("code of the second", twice.error?.code, "exists");

ok(await api.POST("/topics/{topic}/groups", {
  params: { path: { topic } },
  body: { name: group, settle: "explicit", start: "earliest" },
}));

const published = ok(await api.POST("/topics/{topic}/messages", {
  params: { path: { topic } },
  body: [{ body: "one", tag: "a" }, { body: "two", headers: { trace: "7" } }, { bodyBase64: "/w==" }],
}));
equal("published", offsets(published.results), ["0", "1", "2"]);

const seen = ok(await api.GET("/topics/{topic}/messages", { params: { path: { topic }, query: { dir: "prev", limit: 2 } } }));
equal("newest first", offsets(seen.messages), ["2", "1"]);
equal("header", seen.messages[1]?.headers["trace"], "7");
equal("not UTF-8", seen.messages[0]?.bodyBase64, "/w==");

const first = await pull(3);
equal("pulled", offsets(first), ["0", "1", "2"]);
await ack(first);

const plan = ok(await api.POST("/topics/{topic}/groups/{group}/plans", {
  params: { path: { topic, group } },
  body: { to: { offset: "1" } },
}));
equal("plan", [plan.from, plan.to, plan.again, plan.matching], ["3", "1", "2", "2"]);

const moved = ok(await api.POST("/plans/{plan}:apply", { params: { path: { plan: plan.id } }, body: { reason: "once more" } }));
equal("cursor", moved.group.cursor, "1");

const again = await pull(3);
equal("pulled again", again.map((m) => m.body ?? m.bodyBase64), ["two", "/w=="]);

const back = ok(await api.POST("/journal/{entry}:revert", { params: { path: { entry: moved.entry.id } } }));
equal("cursor after the revert", [back.group.cursor, back.group.lag], ["3", "0"]);

const late = await api.POST("/topics/{topic}/groups/{group}:ack", {
  params: { path: { topic, group } },
  body: { handles: again.map((d) => d.handle ?? "") },
});
equal("acks of what is void", [late.error?.code, late.error?.failed?.length], ["conflict", 2]);

console.log("the story is over");
