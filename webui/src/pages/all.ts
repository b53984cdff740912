// What comes behind the first page, in one piece: cut up, it would be larger and come
// in many requests.

export { default as group } from '../groups/GroupPage.svelte';
export { default as service } from '../rpc/Service.svelte';
export { default as access } from './Access.svelte';
export { default as audit } from './Audit.svelte';
export { default as groups } from './Groups.svelte';
export { default as Help } from './Help.svelte';
export { default as Palette } from './Palette.svelte';
export { default as rpc } from './Rpc.svelte';
export { default as servers } from './Servers.svelte';
export { default as sessions } from './Sessions.svelte';
export { default as settings } from './Settings.svelte';
export { default as topic } from './Topic.svelte';
export { default as topics } from './Topics.svelte';
