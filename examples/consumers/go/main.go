// Reads topics of both encodings and prints each envelope as the JSON form has it, one a line.
//
// Nothing of the Python package is in here: the types are made of proto/ alone, see ../README.md.
//
//	go run . -brokers localhost:9092 -topics omninode.logging.application.v1,omninode.logging.audit.v1 -records 10
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	loggingv1 "example.org/consumer/onex/logging/v1"
)

func main() {
	brokers := flag.String("brokers", "localhost:9092", "host:port,host:port")
	topics := flag.String("topics", "omninode.logging.application.v1", "topics, with commas")
	records := flag.Int("records", 0, "end after so many; 0 goes on for ever")
	timeout := flag.Duration("timeout", 0, "end after so long; 0 goes on for ever")
	flag.Parse()
	ctx := context.Background()
	if *timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *timeout)
		defer cancel()
	}
	if err := run(ctx, *brokers, *topics, *records); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, brokers, topics string, records int) error {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(brokers, ",")...),
		kgo.ConsumeTopics(strings.Split(topics, ",")...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for read := 0; records == 0 || read < records; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("after %d records: %w", read, err)
		}
		for _, record := range fetches.Records() {
			envelope, err := decode(record.Value)
			if err != nil {
				return fmt.Errorf("%s/%d@%d: %w", record.Topic, record.Partition, record.Offset, err)
			}
			if err := out.Encode(envelope); err != nil {
				return err
			}
			read++
		}
	}
	return nil
}

// decode reads JSON as it is, which begins with a brace: no envelope in Protobuf does. Of Protobuf it takes off the frame
// of a Schema Registry, where there is one: 0, the schema's ID in four bytes, and the index of the message in the schema,
// which is 0 for the first one.
func decode(value []byte) (map[string]any, error) {
	if len(value) > 0 && value[0] == '{' {
		found := map[string]any{}
		numbers := json.NewDecoder(bytes.NewReader(value))
		numbers.UseNumber() // integers keep their digits
		return found, numbers.Decode(&found)
	}
	if len(value) >= 6 && value[0] == 0 {
		if value[5] != 0 {
			return nil, errors.New("expected the schema's first message")
		}
		value = value[6:]
	}
	envelope := &loggingv1.Envelope{}
	if err := proto.Unmarshal(value, envelope); err != nil {
		return nil, err
	}
	return document(envelope), nil
}

func document(e *loggingv1.Envelope) map[string]any {
	return map[string]any{
		"event_type":     e.GetEventType(),
		"event_id":       e.GetEventId(),
		"timestamp":      timestamp(e.GetTimestamp()),
		"tenant_id":      e.GetTenantId(),
		"namespace":      e.GetNamespace(),
		"source":         e.GetSource(),
		"correlation_id": e.GetCorrelationId(),
		"causation_id":   e.GetCausationId(),
		"schema_ref":     e.GetSchemaRef(),
		"payload":        payload(e),
	}
}

func payload(e *loggingv1.Envelope) map[string]any {
	switch of := e.GetPayload().(type) {
	case *loggingv1.Envelope_Application:
		p := of.Application
		return map[string]any{
			"service_name": p.GetServiceName(),
			"instance_id":  p.GetInstanceId(),
			"level":        strings.TrimPrefix(p.GetLevel().String(), "LEVEL_"),
			"logger":       p.GetLogger(),
			"message":      p.GetMessage(),
			"code":         p.GetCode(),
			"context":      object(p.GetContext()),
		}
	case *loggingv1.Envelope_Audit:
		p := of.Audit
		return map[string]any{
			"tenant_id": p.GetTenantId(),
			"action":    p.GetAction(),
			"actor":     p.GetActor(),
			"resource":  p.GetResource(),
			"outcome":   strings.ToLower(strings.TrimPrefix(p.GetOutcome().String(), "OUTCOME_")),
			"timestamp": timestamp(p.GetTimestamp()),
			"context":   object(p.GetContext()),
		}
	case *loggingv1.Envelope_Security:
		p := of.Security
		return map[string]any{
			"tenant_id":  p.GetTenantId(),
			"event_type": p.GetEventType(),
			"user_id":    p.GetUserId(),
			"resource":   p.GetResource(),
			"decision":   strings.ToLower(strings.TrimPrefix(p.GetDecision().String(), "DECISION_")),
			"timestamp":  timestamp(p.GetTimestamp()),
			"context":    object(p.GetContext()),
		}
	}
	return nil // of a category that this program does not know yet
}

func timestamp(t *timestamppb.Timestamp) string {
	return t.AsTime().UTC().Format("2006-01-02T15:04:05.000000Z07:00")
}

func object(members map[string]*loggingv1.Value) map[string]any {
	made := make(map[string]any, len(members))
	for name, member := range members {
		made[name] = value(member)
	}
	return made
}

func value(v *loggingv1.Value) any {
	switch kind := v.GetKind().(type) {
	case *loggingv1.Value_BoolValue:
		return kind.BoolValue
	case *loggingv1.Value_IntValue:
		return kind.IntValue
	case *loggingv1.Value_UintValue:
		return kind.UintValue
	case *loggingv1.Value_DoubleValue:
		return kind.DoubleValue
	case *loggingv1.Value_StringValue:
		return kind.StringValue
	case *loggingv1.Value_ListValue:
		made := make([]any, 0, len(kind.ListValue.GetValues()))
		for _, element := range kind.ListValue.GetValues() {
			made = append(made, value(element))
		}
		return made
	case *loggingv1.Value_StructValue:
		return object(kind.StructValue.GetFields())
	}
	return nil
}
