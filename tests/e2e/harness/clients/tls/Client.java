// Java's JSSE. Run by the single-file launcher: java Client.java PORT CA CHAIN KEY VERSION FRAGMENT
import java.io.*;
import java.nio.file.*;
import java.security.*;
import java.security.cert.*;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.*;
import javax.net.ssl.*;

public class Client {
  static final int PIECE = 16000, PIECES = 19, LAST = 1000;

  static X509Certificate[] certificates(String file) throws Exception {
    try (InputStream in = new FileInputStream(file)) {
      return CertificateFactory.getInstance("X.509").generateCertificates(in).toArray(new X509Certificate[0]);
    }
  }

  static KeyManager[] keys(String chain, String key) throws Exception {
    if (chain.equals("-")) return null;
    String pem = Files.readString(Path.of(key)).replaceAll("-----[A-Z ]+-----", "").replaceAll("\\s", "");
    PrivateKey secret = KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(pem)));
    KeyStore store = KeyStore.getInstance("PKCS12");
    store.load(null, null);
    store.setKeyEntry("device", secret, new char[0], certificates(chain));
    KeyManagerFactory factory = KeyManagerFactory.getInstance("PKIX");
    factory.init(store, new char[0]);
    return factory.getKeyManagers();
  }

  public static void main(String[] args) throws Exception {
    KeyStore trusted = KeyStore.getInstance("PKCS12");
    trusted.load(null, null);
    for (X509Certificate each : certificates(args[1])) trusted.setCertificateEntry(each.getSerialNumber().toString(), each);
    TrustManagerFactory trust = TrustManagerFactory.getInstance("PKIX");
    trust.init(trusted);
    SSLContext context = SSLContext.getInstance("TLS");
    context.init(keys(args[2], args[3]), trust.getTrustManagers(), null);
    for (int round = 0; round < 2; round++) {
      // By name and port JSSE finds the session of before.
      try (SSLSocket socket = (SSLSocket) context.getSocketFactory().createSocket("localhost", Integer.parseInt(args[0]))) {
        socket.setEnabledProtocols(new String[] {"TLSv" + args[4]});
        SSLParameters parameters = socket.getSSLParameters();
        parameters.setEndpointIdentificationAlgorithm("HTTPS");
        socket.setSSLParameters(parameters);
        long began = System.currentTimeMillis();
        socket.startHandshake();
        SSLSession session = socket.getSession();
        // It does not say whether it resumed: the session is as old as the handshake that made it.
        boolean resumed = round == 1 && session.getCreationTime() < began;
        int count = 0;
        for (int number = 0; number < PIECES; number++) {
          byte[] piece = new byte[PIECE];
          Arrays.fill(piece, (byte) number);
          socket.getOutputStream().write(piece);
          if (!Arrays.equals(piece, socket.getInputStream().readNBytes(PIECE))) throw new IOException("piece " + number);
          count += PIECE;
        }
        byte[] last = new byte[LAST];
        socket.getOutputStream().write(last);
        socket.shutdownOutput();
        count += socket.getInputStream().readAllBytes().length;  // throws without a close_notify
        System.out.println((resumed ? "resumed " : "full ") + session.getProtocol() + " " + session.getCipherSuite() + " " + count);
      }
      Thread.sleep(20);
    }
  }
}
