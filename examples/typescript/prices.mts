// A script for Node: it serves prices, asks for one, and follows what is asked for.
import { CallError, Client } from 'zbus-client';
import { WebSocket } from 'zbus-client/node';

const zbus = new Client(process.env.ZBUS_SERVER ?? 'http://127.0.0.1:15555', { WebSocket });
const make = (topic: { name: string; kind?: 'rpc' }) =>
  zbus.createTopic(topic).catch((err) => {
    if (err.code !== 'exists') throw err;
  });
await make({ name: 'prices', kind: 'rpc' });
await make({ name: 'asked' });

const asked = zbus.subscribe('asked');
await asked.ready;

const cents: Record<string, number> = { pizza: 750, tea: 200 };
const service = zbus.serve('prices', {
  get: async (item: string) => {
    await zbus.publish('asked', { body: item });
    if (cents[item] === undefined) throw new CallError(`there is no ${item}`, { status: 404, code: 'no_item' });
    return cents[item];
  },
});
await service.ready;

console.log('a pizza is', await zbus.call('prices', 'get', ['pizza']), 'cents');
await zbus.call('prices', 'get', ['car']).catch((err) => console.log(err instanceof CallError && err.code));
for await (const m of asked) {
  console.log('asked for', m.body);
  if (m.body === 'car') break;
}
await service.close();
zbus.close();
