// Package peer holds what the Go server and the Go client share: reading JSON files and certificates, writing JSON lines.
package peer

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"sync"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

var output sync.Mutex

// Print writes one value as one line of JSON to standard output.
func Print(value any) {
	line, err := json.Marshal(value)
	if err != nil {
		log.Fatal(err)
	}
	output.Lock()
	defer output.Unlock()
	fmt.Println(string(line))
}

// JSON is a message with every field that it has, also those that are zero.
func JSON(message proto.Message) json.RawMessage {
	text, err := protojson.MarshalOptions{EmitUnpopulated: true}.Marshal(message)
	if err != nil {
		log.Fatal(err)
	}
	return text
}

// ReadJSON fills a value from a file.
func ReadJSON(path string, value any) {
	if err := json.Unmarshal(Read(path), value); err != nil {
		log.Fatal(err)
	}
}

// Read is a file's content.
func Read(path string) []byte {
	content, err := os.ReadFile(path)
	if err != nil {
		log.Fatal(err)
	}
	return content
}

// Pair is our own certificate and key; no paths, none.
func Pair(cert, key string) []tls.Certificate {
	if cert == "" {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		log.Fatal(err)
	}
	return []tls.Certificate{pair}
}

// Roots are the trusted certificates of a file.
func Roots(path string) *x509.CertPool {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(Read(path)) {
		log.Fatalf("%s holds no certificate", path)
	}
	return roots
}
