package main

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kgo"
)

//go:embed schema.sql
var schemaSQL string

// parked is a record that cannot be applied, and why.
type parked struct {
	*kgo.Record
	reason string
}

// batch is what one transaction stores.
type batch struct {
	orders []order
	parked []parked
}

type store struct{ pool *pgxpool.Pool }

// openStore connects, and creates the tables that are missing.
func openStore(ctx context.Context, url string) (*store, error) {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return nil, err
	}
	if _, err := pool.Exec(ctx, schemaSQL); err != nil {
		pool.Close()
		return nil, err
	}
	return &store{pool}, nil
}

func (s *store) close() { s.pool.Close() }

// save stores a batch in one transaction. Whatever was stored before, by this process or another, changes nothing.
func (s *store) save(ctx context.Context, found batch) error {
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		fresh, err := claim(ctx, tx, found.orders)
		if err != nil {
			return err
		}
		if err := add(ctx, tx, fresh); err != nil {
			return err
		}
		return park(ctx, tx, found.parked)
	})
}

// claim writes a receipt for each order and returns those that had none. It is the transaction's first statement: a
// second transaction with the same event waits here until the first has ended. Ids and keys are sorted everywhere, so
// that no two transactions wait for each other.
func claim(ctx context.Context, tx pgx.Tx, orders []order) ([]order, error) {
	ids := make([]pgtype.UUID, len(orders))
	for i, order := range orders {
		ids[i] = order.eventID
	}
	rows, _ := tx.Query(ctx, `
		INSERT INTO inbox (event_id) SELECT DISTINCT id FROM unnest($1::uuid[]) AS id ORDER BY id
		ON CONFLICT DO NOTHING RETURNING event_id`, ids)
	claimed, err := pgx.CollectRows(rows, pgx.RowTo[pgtype.UUID])
	if err != nil {
		return nil, err
	}
	open := map[pgtype.UUID]bool{}
	for _, id := range claimed {
		open[id] = true
	}
	var fresh []order
	for _, order := range orders {
		if open[order.eventID] {
			fresh = append(fresh, order)
			delete(open, order.eventID) // the same event may be in the batch twice
		}
	}
	return fresh, nil
}

// add is the effect. Adding is not idempotent: only claim makes it so.
func add(ctx context.Context, tx pgx.Tx, orders []order) error {
	customers, currencies, cents := make([]string, len(orders)), make([]string, len(orders)), make([]int64, len(orders))
	for i, order := range orders {
		customers[i], currencies[i], cents[i] = order.CustomerID, order.Currency, order.TotalCents
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO customer_totals AS t (customer_id, currency, orders, total_cents)
		SELECT customer_id, currency, count(*), sum(cents)
		FROM unnest($1::text[], $2::text[], $3::bigint[]) AS placed (customer_id, currency, cents)
		GROUP BY customer_id, currency ORDER BY customer_id, currency
		ON CONFLICT (customer_id, currency) DO UPDATE
		SET orders = t.orders + excluded.orders, total_cents = t.total_cents + excluded.total_cents`,
		customers, currencies, cents)
	return err
}

// park stores each record as it is.
func park(ctx context.Context, tx pgx.Tx, records []parked) error {
	for _, record := range records {
		headers := [][]byte{}
		for _, header := range record.Headers {
			headers = append(headers, []byte(header.Key), header.Value)
		}
		reason := strings.ReplaceAll(strings.ToValidUTF8(record.reason, "?"), "\x00", "?")
		_, err := tx.Exec(ctx, `INSERT INTO parked VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING`,
			record.Topic, record.Partition, record.Offset, record.Timestamp, record.Key, record.Value, headers, reason)
		if err != nil {
			return err
		}
	}
	return nil
}

// print writes one line per currency, and how many records are parked.
func (s *store) print(ctx context.Context, out io.Writer) error {
	rows, _ := s.pool.Query(ctx, `
		SELECT format('%s: %s orders of %s customers, %s cents', currency, sum(orders), count(*), sum(total_cents))
		FROM customer_totals GROUP BY currency
		UNION ALL SELECT format('parked: %s', count(*)) FROM parked ORDER BY 1`)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, strings.Join(lines, "\n"))
	return err
}
