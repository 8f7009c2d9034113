module example.org/consumer

go 1.24

tool google.golang.org/protobuf/cmd/protoc-gen-go

require (
	github.com/twmb/franz-go v1.19.5
	google.golang.org/protobuf v1.36.11
)

require (
	github.com/klauspost/compress v1.18.0 // indirect
	github.com/pierrec/lz4/v4 v4.1.22 // indirect
	github.com/twmb/franz-go/pkg/kmsg v1.11.2 // indirect
)
