// Go's crypto/tls.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"os"
)

const piece, pieces, last = 16000, 19, 1000

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	port, ca, chain, key := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	version := map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}[os.Args[5]]
	pem, err := os.ReadFile(ca)
	must(err)
	config := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "localhost", MinVersion: version, MaxVersion: version,
		ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	config.RootCAs.AppendCertsFromPEM(pem)
	if chain != "-" {
		certificate, err := tls.LoadX509KeyPair(chain, key)
		must(err)
		config.Certificates = []tls.Certificate{certificate}
	}
	for round := 0; round < 2; round++ {
		connection, err := tls.Dial("tcp", "127.0.0.1:"+port, config)
		must(err)
		count := 0
		back := make([]byte, piece)
		for number := 0; number < pieces; number++ {
			sent := bytes.Repeat([]byte{byte(number)}, piece)
			_, err = connection.Write(sent)
			must(err)
			_, err = io.ReadFull(connection, back)
			must(err)
			if !bytes.Equal(sent, back) {
				must(fmt.Errorf("piece %d came back changed", number))
			}
			count += piece
		}
		_, err = connection.Write(bytes.Repeat([]byte{'x'}, last))
		must(err)
		must(connection.CloseWrite())
		rest, err := io.ReadAll(connection) // io.ErrUnexpectedEOF without a close_notify
		must(err)
		state := connection.ConnectionState()
		how := "full"
		if state.DidResume {
			how = "resumed"
		}
		fmt.Println(how, "TLSv"+os.Args[5], tls.CipherSuiteName(state.CipherSuite), count+len(rest))
		connection.Close()
	}
}
