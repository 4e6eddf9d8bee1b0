'use strict';
// Cases for the stock Node.js client: `node client.js SOCKET PROTO CASE` prints what it saw as one JSON value.
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const [socket, proto, name] = process.argv.slice(2);
const contract = loader.loadSync(proto, { keepCase: true, enums: String, longs: Number, defaults: true });
const { ipam } = grpc.loadPackageDefinition(contract);
const client = new ipam.v1.IPAM(`unix:${socket}`, grpc.credentials.createInsecure());

function call(method, request, { deadline = 20000, metadata = new grpc.Metadata() } = {}) {
  return new Promise((resolve, reject) => {
    const options = { deadline: Date.now() + deadline };
    client[method](request, metadata, options, (error, reply) => (error ? reject(error) : resolve(reply)));
  });
}

function failure(promise) {
  return promise.then(() => null, ({ code, details, metadata }) => ({
    code,
    details,
    status: metadata.get('grpc-status-details-bin').map((bytes) => bytes.toString('base64')),
  }));
}

function owner(vip) {
  return { kind: 'ProxyVIP', name: vip };
}

const pool = { name: 'node-pool', cidrs: ['10.201.0.0/20'], auto_assign: true };

const cases = {
  async everyMethod() {
    const applied = await call('ApplyPool', { pool });
    const allocated = await call('Allocate', { owner: owner('web'), pool: pool.name });
    const claims = await call('GetClaims', { owner: owner('web') });
    const listed = await call('ListClaims', { pool: pool.name });
    const got = await call('GetPool', { name: pool.name });
    const pools = await call('ListPools', {});
    const released = await call('Release', { owner: owner('web') });
    const changes = await call('ListChanges', {});
    const removed = await call('DeletePool', { name: pool.name });
    const status = await call('GetStatus', {});
    return {
      available: applied.pool.counts.available,
      address: allocated.claims[0].address,
      same: claims.claims[0].address === listed.claims[0].address,
      allocated: got.pool.counts.allocated,
      pools: pools.pools.map((it) => it.spec.name),
      released: released.released[0].state,
      revisions: changes.changes.map((it) => it.revision),
      removed: removed.removed,
      store: status.store,
    };
  },

  async thousandConcurrentCalls() {
    await call('ApplyPool', { pool });
    const calls = Array.from({ length: 1000 }, (_, n) => call('Allocate', { owner: owner(`vip-${n}`), pool: pool.name }));
    const addresses = (await Promise.all(calls)).map((reply) => reply.claims[0].address);
    const status = await call('GetStatus', {});
    return { distinct: new Set(addresses).size, connections: status.counters.connections };
  },

  async passedDeadline() {
    return failure(call('GetStatus', {}, { deadline: -1 }));
  },

  async shortDeadlinesUnderLoad() {
    await call('ApplyPool', { pool });
    const calls = Array.from({ length: 300 }, (_, n) =>
      failure(call('Allocate', { owner: owner(`vip-${n}`), pool: pool.name }, { deadline: 1 + (n % 20) })));
    const codes = new Set((await Promise.all(calls)).map((error) => (error ? error.code : 0)));
    await call('GetStatus', {});
    return [...codes].every((code) => code === grpc.status.OK || code === grpc.status.DEADLINE_EXCEEDED);
  },

  async cancel() {
    const code = await new Promise((resolve) => {
      const pending = client.ListPools({}, (error) => resolve(error ? error.code : 0));
      pending.cancel();
    });
    await call('GetStatus', {});
    return code;
  },

  async metadata() {
    const metadata = new grpc.Metadata();
    metadata.set('x-request-id', 'abc');
    metadata.set('x-bytes-bin', Buffer.from([0, 1, 255]));
    for (let n = 0; n < 50; n += 1) metadata.add('x-many', `value ${n}`);
    return (await call('GetStatus', {}, { metadata })).store;
  },

  async errorDetails() {
    return failure(call('GetPool', { name: 'no-such-pool' }));
  },

  async unicodeMessage() {
    return failure(call('GetPool', { name: 'π/% pool' }));
  },

  async compressed() {
    const packed = new ipam.v1.IPAM(`unix:${socket}`, grpc.credentials.createInsecure(),
      { 'grpc.default_compression_algorithm': 2 });
    const error = await new Promise((resolve) => {
      packed.ApplyPool({ pool: { ...pool, cidrs: Array(200).fill('10.201.0.0/20') } }, (it) => resolve(it));
    });
    packed.close();
    return error && error.code;
  },
};

cases[name]().then((seen) => {
  console.log(JSON.stringify(seen));
  client.close();
}, (error) => {
  console.error(error);
  process.exit(1);
});
