// The SQS server of the benchmark, for every contestant: fauxqs on 127.0.0.1, and it counts requests.
//
// First line out: its port. A line in: the counts by operation since the last line, as JSON. The end of its input is its
// own, so that it never outlives the harness. Run from the folder where `npm install fauxqs` was done.
import { createInterface } from 'node:readline';
import { buildApp } from 'fauxqs';

const app = await buildApp({ logger: false });
let counts = {};
app.server.on('request', (request) => {
  const operation = String(request.headers['x-amz-target'] ?? 'other').split('.').pop();
  counts[operation] = (counts[operation] ?? 0) + 1;
});
await app.listen({ port: 0, host: '127.0.0.1' });
console.log(app.server.address().port);

const lines = createInterface({ input: process.stdin });
lines.on('line', () => {
  console.log(JSON.stringify(counts));
  counts = {};
});
lines.on('close', () => process.exit(0));
