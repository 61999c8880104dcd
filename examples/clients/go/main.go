// Reads, writes and deletes through lcache's gRPC interface. Usage: client HOST:PORT
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"lcache.example/client/lcachev1"
)

const (
	timeout = 5 * time.Second
	group   = "scores"
)

type client struct {
	cache lcachev1.CacheClient
}

func deadline() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), timeout)
}

// get returns nil without an error when there is no such key.
func (c client) get(key string) ([]byte, error) {
	ctx, cancel := deadline()
	defer cancel()
	reply, err := c.cache.Get(ctx, &lcachev1.GetRequest{Group: group, Key: []byte(key)})
	if status.Code(err) == codes.NotFound {
		fmt.Printf("get %s: not found\n", key)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	from := strings.TrimPrefix(reply.ServedFrom.String(), "SERVED_FROM_")
	fmt.Printf("get %s: %d bytes from %s\n", key, len(reply.Value), from)
	return reply.Value, nil
}

func (c client) set(key, value string) error {
	ctx, cancel := deadline()
	defer cancel()
	request := &lcachev1.SetRequest{Group: group, Key: []byte(key), Value: []byte(value), TtlMs: 60_000}
	if _, err := c.cache.Set(ctx, request); err != nil {
		return err
	}
	fmt.Printf("set %s\n", key)
	return nil
}

func (c client) delete(key string) error {
	ctx, cancel := deadline()
	defer cancel()
	reply, err := c.cache.Delete(ctx, &lcachev1.DeleteRequest{Group: group, Key: []byte(key)})
	if err != nil {
		return err
	}
	what := "it was not there"
	if reply.Deleted {
		what = "it was there"
	}
	fmt.Printf("delete %s: %s\n", key, what)
	return nil
}

func (c client) batchGet(keys ...string) error {
	ctx, cancel := deadline()
	defer cancel()
	request := &lcachev1.BatchGetRequest{Group: group}
	for _, key := range keys {
		request.Keys = append(request.Keys, []byte(key))
	}
	reply, err := c.cache.BatchGet(ctx, request)
	if err != nil {
		return err
	}
	for _, result := range reply.Results {
		fmt.Printf("batch %s: %s\n", result.Key, describe(result))
	}
	return nil
}

func describe(result *lcachev1.BatchGetResponse_Result) string {
	switch codes.Code(result.Code) {
	case codes.OK:
		return fmt.Sprintf("%d bytes", len(result.Value))
	case codes.NotFound:
		return "not found"
	default:
		return "failed: " + result.Message
	}
}

func (c client) demonstrate() error {
	get := func(key string) func() error {
		return func() error { _, err := c.get(key); return err }
	}
	steps := []func() error{
		func() error { return c.delete("7") },
		get("7"), // a miss: lcache asks the source
		get("7"), // a hit
		get("no-such-player"),
		func() error { return c.set("8", "my own value") },
		get("8"),
		func() error { return c.delete("8") },
		func() error { return c.batchGet("7", "9", "no-such-player") },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: client HOST:PORT")
	}
	conn, err := grpc.Dial(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	if err := (client{lcachev1.NewCacheClient(conn)}).demonstrate(); err != nil {
		log.Fatal(err)
	}
}
