// Asks a URL twenty times at once in each version of HTTP, and prints the versions and statuses that came.
import { readFileSync } from 'node:fs';
import http2 from 'node:http2';
import https from 'node:https';

const [url, file] = process.argv.slice(2);
const ca = readFileSync(file);

const read = async (stream) => {
  let text = '';
  for await (const chunk of stream.setEncoding('utf8')) text += chunk;
  return text.includes('"body":"hello"');
};

const http1 = () =>
  new Promise((resolve, reject) => {
    const request = https.request(url, { ca, method: 'POST' }, async (answer) => {
      resolve(`HTTP_${answer.httpVersion.replace('.', '_')} ${answer.statusCode} ${await read(answer)}`);
    });
    request.on('error', reject).end('hello');
  });

const session = http2.connect(url, { ca });
const { pathname } = new URL(url);
const http2Request = () =>
  new Promise((resolve, reject) => {
    const stream = session.request({ ':method': 'POST', ':path': pathname });
    let status;
    stream.on('response', (fields) => (status = fields[':status']));
    stream.on('error', reject).end('hello');
    read(stream).then((echoed) => resolve(`HTTP_2 ${status} ${echoed}`), reject);
  });

for (const ask of [http1, http2Request]) {
  const answers = await Promise.all(Array.from({ length: 20 }, ask));
  answers.forEach((answer) => console.log(answer));
}
session.close();
