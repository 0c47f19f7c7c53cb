// The JavaScript SDK, which checks MD5s, and sqs-consumer: ten messages, one of which fails once.
import {
  CreateQueueCommand, GetQueueUrlCommand, SendMessageBatchCommand, SendMessageCommand, SQSClient,
} from "@aws-sdk/client-sqs";
import { Consumer } from "sqs-consumer";

const sqs = new SQSClient({
  region: "us-east-1",
  endpoint: process.env.EMULATOR,
  credentials: { accessKeyId: "123456789012", secretAccessKey: "secret" },
});
const { QueueUrl } = await sqs.send(new CreateQueueCommand({ QueueName: "javascript" }));
await sqs.send(new SendMessageCommand({
  QueueUrl,
  MessageBody: "é",
  MessageAttributes: {
    n: { DataType: "Number", StringValue: "1" },
    b: { DataType: "Binary", BinaryValue: new Uint8Array([0, 255]) },
  },
}));
const Entries = [...Array(9).keys()].map((i) => ({ Id: `${i}`, MessageBody: `${i}` }));
await sqs.send(new SendMessageBatchCommand({ QueueUrl, Entries }));
const refused = await sqs.send(new GetQueueUrlCommand({ QueueName: "nowhere" })).catch((error) => error.name);

const got = [];
let failed = false;
const consumer = Consumer.create({
  queueUrl: QueueUrl,
  sqs,
  batchSize: 10,
  waitTimeSeconds: 2,
  messageAttributeNames: ["All"],
  terminateVisibilityTimeout: true,
  handleMessage: async (message) => {
    if (message.Body === "3" && !failed) {
      failed = true;
      throw new Error("once more");
    }
    got.push(message.Body);
    if (got.length === 10) setTimeout(() => consumer.stop(), 200);
    return message;
  },
});
consumer.on("processing_error", () => {});
consumer.on("error", (error) => console.log(`error ${error.message}`));
consumer.on("stopped", () => console.log(JSON.stringify({ refused, failed, got: got.sort() })));
consumer.start();
