package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	group          = "go-totals"
	sessionTimeout = 6 * time.Second // so long after a crash, others take over its partitions
	pollTimeout    = 500 * time.Millisecond
	attemptTimeout = 30 * time.Second
	pauseOfOutage  = time.Second
)

// consumer moves records from the topic into the store. Its group's offsets follow the store, never the reverse.
type consumer struct {
	kafka    *kgo.Client
	contract *contract
	store    *store
	batch    int
}

func newConsumer(brokers string, batch int, contract *contract, store *store) (*consumer, error) {
	kafka, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(brokers, ",")...),
		kgo.ClientID(group),
		kgo.ConsumerGroup(group),
		kgo.SessionTimeout(sessionTimeout),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // so that the position reaches the end of a topic that ends with one
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(), // partitions are given up between batches only
	)
	if err != nil {
		return nil, fmt.Errorf("the Kafka client cannot be made: %w", err)
	}
	return &consumer{kafka, contract, store, batch}, nil
}

// close leaves the group, so that others take over at once.
func (c *consumer) close() {
	c.kafka.AllowRebalance()
	c.kafka.Close()
}

// run consumes until ctx ends.
func (c *consumer) run(ctx context.Context) error {
	for {
		if err := c.step(ctx); err != nil {
			return err
		}
	}
}

// step polls for a while, applies what came and commits the offsets. Errors of Kafka are logged: the client tries again
// by itself. Returns an error only when ctx has ended.
func (c *consumer) step(ctx context.Context) error {
	poll, cancel := context.WithTimeout(ctx, pollTimeout)
	fetches := c.kafka.PollRecords(poll, c.batch)
	cancel()
	defer c.kafka.AllowRebalance()
	if ctx.Err() != nil {
		return ctx.Err() // what was polled is not applied and not committed: the next start reads it again
	}
	fetches.EachError(func(topic string, partition int32, err error) {
		if !errors.Is(err, context.DeadlineExceeded) { // nothing came
			slog.Warn("cannot fetch", "topic", topic, "partition", partition, "error", err)
		}
	})
	records := fetches.Records()
	if len(records) == 0 {
		return nil
	}
	if err := c.applyUntilItWorks(ctx, records); err != nil {
		return err
	}
	// Only now, after the database has committed. A crash before this line delivers the records once more.
	commit, cancel := context.WithTimeout(context.WithoutCancel(ctx), attemptTimeout)
	defer cancel()
	if err := c.kafka.CommitUncommittedOffsets(commit); err != nil {
		slog.Warn("offsets are not committed, the records may come again", "error", err)
	}
	return nil
}

// applyUntilItWorks waits out outages of the database and the registry, however long; nothing is parked for them. An
// attempt that has begun is finished even if ctx ends.
func (c *consumer) applyUntilItWorks(ctx context.Context, records []*kgo.Record) error {
	for {
		attempt, cancel := context.WithTimeout(context.WithoutCancel(ctx), attemptTimeout)
		err := c.apply(attempt, records)
		cancel()
		if err == nil {
			return nil
		}
		slog.Warn("waiting", "records", len(records), "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pauseOfOutage):
		}
	}
}

// apply stores records in one transaction. If the database refuses their content, it halves them until the one that
// is refused stands alone and can be parked.
func (c *consumer) apply(ctx context.Context, records []*kgo.Record) error {
	found, err := c.decode(ctx, records)
	if err != nil {
		return err
	}
	err = c.save(ctx, found)
	if !isRefusal(err) {
		return err
	}
	if len(records) == 1 {
		return c.save(ctx, batch{parked: []parked{{records[0], "the database refuses it: " + err.Error()}}})
	}
	half := len(records) / 2
	if err := c.apply(ctx, records[:half]); err != nil {
		return err
	}
	return c.apply(ctx, records[half:])
}

// decode sorts records into orders and what has to be parked, and leaves out what concerns other consumers.
func (c *consumer) decode(ctx context.Context, records []*kgo.Record) (batch, error) {
	var found batch
	for _, record := range records {
		if record.Attrs.IsControl() {
			continue
		}
		placed, err := c.contract.decode(ctx, record)
		var reason permanent
		switch {
		case errors.As(err, &reason):
			found.parked = append(found.parked, parked{record, reason.Error()})
		case err != nil:
			return batch{}, err
		case placed != nil:
			found.orders = append(found.orders, *placed)
		}
	}
	return found, nil
}

// save stores a batch and then, once it is stored, logs what was parked.
func (c *consumer) save(ctx context.Context, found batch) error {
	if err := c.store.save(ctx, found); err != nil {
		return err
	}
	for _, record := range found.parked {
		slog.Warn("parked", "topic", record.Topic, "partition", record.Partition, "offset", record.Offset,
			"reason", record.reason)
	}
	return nil
}

// isRefusal is true of SQLSTATE classes 22 (invalid data) and 23 (violated constraints), which no waiting cures.
func isRefusal(err error) bool {
	var answer *pgconn.PgError
	return errors.As(err, &answer) && (strings.HasPrefix(answer.Code, "22") || strings.HasPrefix(answer.Code, "23"))
}
