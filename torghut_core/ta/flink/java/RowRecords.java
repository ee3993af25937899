package torghut.ta;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.producer.ProducerRecord;

/** Elements of {@link RowBlocks} as Kafka records. The producer partitions by key and stamps the wall clock. */
public final class RowRecords implements KafkaRecordSerializationSchema<byte[]> {
    private static final long serialVersionUID = 1L;

    private final String[] topics;

    public RowRecords(String[] topics) {
        this.topics = topics;
    }

    @Override
    public ProducerRecord<byte[], byte[]> serialize(byte[] row, KafkaSinkContext context, Long timestamp) {
        ByteBuffer in = ByteBuffer.wrap(row).order(ByteOrder.LITTLE_ENDIAN);
        String topic = topics[in.get()];
        int end = RowBlocks.HEAD_BYTES + in.getInt();
        return new ProducerRecord<>(
                topic,
                Arrays.copyOfRange(row, RowBlocks.HEAD_BYTES, end),
                Arrays.copyOfRange(row, end, row.length));
    }
}
