// Connects with the official client, invokes hub methods and prints every event as a line of JSON, until stdin ends.
// Argument: {"url", "token", "skipNegotiation", "invocations": [[method, ...arguments]], "targets": [name]}
import { HttpTransportType, HubConnectionBuilder, LogLevel } from "@microsoft/signalr";

const order = JSON.parse(process.argv[2]);
const say = (event) => process.stdout.write(JSON.stringify(event) + "\n");

const options = { accessTokenFactory: () => order.token, transport: HttpTransportType.WebSockets };
if (order.skipNegotiation) options.skipNegotiation = true;
const connection = new HubConnectionBuilder()
  .withUrl(order.url, options)
  .withAutomaticReconnect([50, 100, 200, 500])
  .configureLogging(LogLevel.None)
  .build();

const subscribe = async () => {
  for (const [method, ...args] of order.invocations) {
    try {
      say({ invoked: method, result: await connection.invoke(method, ...args) });
    } catch (error) {
      say({ invoked: method, error: String(error.message ?? error) });
    }
  }
};

for (const target of order.targets) connection.on(target, (...args) => say({ target, arguments: args }));
connection.onreconnecting((error) => say({ state: "reconnecting", error: String(error?.message ?? "") }));
connection.onreconnected(async () => {
  say({ state: "reconnected" });
  await subscribe();
});
connection.onclose((error) => say({ state: "closed", error: String(error?.message ?? "") }));

process.stdin.resume();
process.stdin.on("end", () => connection.stop().then(() => process.exit(0)));
try {
  await connection.start();
  say({ state: "connected" });
  await subscribe();
} catch (error) {
  say({ state: "refused", error: String(error.message ?? error) });
}
