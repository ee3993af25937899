package torghut.ta;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HashMap;
import java.util.Map;
import org.apache.flink.api.common.typeinfo.PrimitiveArrayTypeInfo;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.OffsetResetStrategy;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;
import org.apache.flink.util.Collector;

/** A record's value behind its source (the place of its topic), partition number and offset; nothing is decoded here. */
public final class TaggedRecords implements KafkaRecordDeserializationSchema<byte[]> {
    private static final long serialVersionUID = 1L;
    static final int TAG_BYTES = 16;

    private final String[] topics;

    public TaggedRecords(String[] topics) {
        this.topics = topics;
    }

    /** Returns where to begin: place by place a topic, a partition number and an offset. */
    public static OffsetsInitializer starts(String[] topics, int[] partitions, long[] offsets) {
        Map<TopicPartition, Long> starts = new HashMap<>();
        for (int at = 0; at < topics.length; at++) {
            starts.put(new TopicPartition(topics[at], partitions[at]), offsets[at]);
        }
        return OffsetsInitializer.offsets(starts, OffsetResetStrategy.EARLIEST);
    }

    @Override
    public void deserialize(ConsumerRecord<byte[], byte[]> record, Collector<byte[]> out) throws IOException {
        byte[] value = record.value();
        int length = value == null ? 0 : value.length; // a tombstone is an empty value, which the decoder counts
        byte[] tagged = new byte[TAG_BYTES + length];
        ByteBuffer.wrap(tagged).order(ByteOrder.LITTLE_ENDIAN)
                .putInt(place(record.topic())).putInt(record.partition()).putLong(record.offset());
        if (length > 0) {
            System.arraycopy(value, 0, tagged, TAG_BYTES, length);
        }
        out.collect(tagged);
    }

    private int place(String topic) throws IOException {
        for (int at = 0; at < topics.length; at++) {
            if (topics[at].equals(topic)) {
                return at;
            }
        }
        throw new IOException("no source reads topic " + topic);
    }

    @Override
    public TypeInformation<byte[]> getProducedType() {
        return PrimitiveArrayTypeInfo.BYTE_PRIMITIVE_ARRAY_TYPE_INFO;
    }
}
