package codec_test

import (
	"fmt"
	"math"

	"github.com/ringstore/ringstore/memstore/codec"
)

func Example() {
	var e codec.Encoder
	column := e.AppendWithStats(nil, []float64{95.01, 95.03, math.NaN(), 95.02})
	fmt.Println(len(column), "bytes")

	var d codec.Decoder
	values := make([]float64, 4)
	tail, err := d.Decode(values, column)
	fmt.Println(values, len(tail), err)

	stats, err := d.Stats(column, 4)
	fmt.Printf("%+v %v\n", stats, err)
	// Output:
	// 13 bytes
	// [95.01 95.03 NaN 95.02] 0 <nil>
	// {Count:3 Sum:285.06 Min:95.01 Max:95.03} <nil>
}
