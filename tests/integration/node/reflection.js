'use strict';
// A stock reflection client: knows no .proto, asks the socket. `node reflection.js SOCKET VERSION` prints JSON.
const grpc = require('@grpc/grpc-js');
const { GrpcReflection } = require('grpc-js-reflection-client');

const [socket, version] = process.argv.slice(2);
const target = `unix:${socket}`;

async function look() {
  const reflection = new GrpcReflection(target, grpc.credentials.createInsecure(), {}, version);
  const services = await reflection.listServices();
  const methods = await reflection.listMethods('ipam.v1.IPAM');
  const descriptor = await reflection.getDescriptorBySymbol('ipam.v1.IPAM');
  const { ipam } = descriptor.getPackageObject({ keepCase: true, longs: Number });
  const client = new ipam.v1.IPAM(target, grpc.credentials.createInsecure());
  const applied = await new Promise((resolve, reject) => {
    client.ApplyPool({ pool: { name: 'seen', cidrs: ['10.202.0.0/28'] } },
      (error, reply) => (error ? reject(error) : resolve(reply)));
  });
  client.close();
  return { services, methods: methods.map((it) => it.name), capacity: applied.pool.counts.capacity };
}

look().then((seen) => {
  console.log(JSON.stringify(seen));
  process.exit(0);
}, (error) => {
  console.error(error);
  process.exit(1);
});
