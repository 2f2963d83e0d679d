// OpenSSL once more, by Node's streams.
const fs = require('fs'), tls = require('tls');

const [port, ca, chain, key, version] = process.argv.slice(2);
const kPiece = 16000, kPieces = 19, kLast = 1000;
const only = 'TLSv' + version;

function connect(session, done) {
  const options = {host: '127.0.0.1', port: +port, servername: 'localhost', ca: fs.readFileSync(ca), minVersion: only,
                   maxVersion: only, allowHalfOpen: true, session};
  if (chain !== '-') Object.assign(options, {cert: fs.readFileSync(chain), key: fs.readFileSync(key)});
  const socket = tls.connect(options);
  let count = 0, sent = 0, kept;
  const say = () => { socket.write(Buffer.alloc(kPiece, sent)); ++sent; };
  socket.on('session', (ticket) => { kept = ticket; });
  socket.on('secureConnect', say);
  socket.on('data', (data) => {
    for (const byte of data) {
      const of = Math.floor(count / kPiece);
      if (byte !== (of < kPieces ? of : 0x78)) throw new Error('byte ' + count + ' is ' + byte);
      ++count;
    }
    if (count === sent * kPiece && sent < kPieces) say();
    else if (count === kPieces * kPiece) socket.end(Buffer.alloc(kLast, 'x'));
  });
  socket.on('end', () => {
    console.log(socket.isSessionReused() ? 'resumed' : 'full', socket.getProtocol(), socket.getCipher().name, count);
    done(kept);
  });
}

connect(undefined, (session) => connect(session, () => process.exit(0)));
