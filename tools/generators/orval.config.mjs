// What orval makes of the contract: functions that fetch.
export default { zbus: { input: '../../openapi.yaml', output: { target: 'out/ts/orval.ts', client: 'fetch', mode: 'single' } } };
