// What a program does with each of the TypeScript clients: that it compiles says that their types fit. What
// has a default need not be given.
import type { components } from './out/ts/openapi-typescript';
import * as hey from './out/ts/hey-api';
import * as orval from './out/ts/orval';

type Schemas = components['schemas'];
export const topic: Schemas['NewTopic'] = { name: 'orders' };
export const group: Schemas['NewGroup'] = { name: 'billing' };
export const state: Schemas['GroupState'] = {};

export async function withHeyApi(): Promise<string | undefined> {
  await hey.putTopic({ path: { topic: 'orders' }, body: {} });
  const { data } = await hey.publish({ path: { topic: 'orders' }, body: { body: 'two pizzas' } });
  return data?.offset;
}

export async function withOrval(): Promise<string> {
  const made = await orval.putTopic('orders', {});
  return made.status === 201 || made.status === 200 ? made.data.topic.name : made.data.code;
}
