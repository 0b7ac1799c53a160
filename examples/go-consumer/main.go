// Command go-consumer keeps, in a Postgres database of its own, what each customer has ordered. It shares no code
// with the services that publish the orders: it knows their contract, the topic's name and the address of the
// schema registry.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// settings are where the servers are, and how to read.
type settings struct {
	brokers, registryURL, databaseURL string
	batch                             int
	once                              bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, parseFlags()); err != nil {
		slog.Error(err.Error())
		os.Exit(1)
	}
}

// run reads until ctx ends or, with -once, until everything that is in the topic now has been applied. A batch that
// is at work when ctx ends is finished.
func run(ctx context.Context, set settings) error {
	totals, err := openStore(ctx, set.databaseURL)
	if err != nil {
		return fmt.Errorf("the database cannot be used: %w", err)
	}
	defer totals.close()
	contract, err := newContract(set.registryURL)
	if err != nil {
		return err
	}
	reader, err := newConsumer(set.brokers, set.batch, contract, totals)
	if err != nil {
		return err
	}
	defer reader.close()
	slog.Info("reading", "topic", topic, "group", group)
	if set.once {
		if err := reader.runOnce(ctx); err != nil {
			return err
		}
		return totals.print(ctx, os.Stdout)
	}
	if err := reader.run(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	slog.Info("drained")
	return nil
}

func parseFlags() settings {
	var set settings
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), "go-consumer adds up, in Postgres, what each customer has ordered.\n\n")
		flag.PrintDefaults()
	}
	flag.StringVar(&set.brokers, "brokers", fromEnv("KAFKA_BROKERS", "localhost:8021"),
		"`addresses` of Kafka, separated by commas; also $KAFKA_BROKERS")
	flag.StringVar(&set.registryURL, "registry", fromEnv("REGISTRY_URL", "http://localhost:8023/apis/ccompat/v7"),
		"`URL` of the schema registry's Confluent API; also $REGISTRY_URL")
	// No default is shown for the database: its URL holds a password.
	flag.StringVar(&set.databaseURL, "database", "", "`URL` of a Postgres database of its own; default $DATABASE_URL")
	flag.IntVar(&set.batch, "batch", 500, "most records in one `transaction`")
	flag.BoolVar(&set.once, "once", false, "end, with a summary, when all that is in the topic at the start has been applied")
	flag.Parse()
	if set.databaseURL == "" {
		set.databaseURL = os.Getenv("DATABASE_URL")
	}
	if set.databaseURL == "" || set.batch < 1 || flag.NArg() > 0 {
		fmt.Fprint(os.Stderr, "go-consumer needs -database or $DATABASE_URL, a -batch of at least 1, and no arguments\n")
		os.Exit(2)
	}
	return set
}

func fromEnv(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}
